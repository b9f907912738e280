"""Keys of rows: equal keys mean equal rows, equal texts but for case and spaces, or the same question."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import Any

from .rows import Conversation, Labelled, Message, Messages, Pair, Prompt, Row, last_prompt, opening

_MESSAGE, _PART, _ROLE = "\x1e", "\x1d", "\x1f"
"""Separators that no text of a data set holds by accident."""


def _folded(text: str) -> str:
    """``text`` without differences of case, composition and white space; punctuation counts, as it does in maths."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def row_key(row: Row) -> int:
    """Equal for rows that are equal in every word; a margin alone does not make a row another one."""
    return _hash(_PART.join(_text(part) for part in _parts(row)) + _rest(row))


def normalized_key(row: Row) -> int:
    """Equal for rows that differ in case and white space only."""
    return _hash(_PART.join(_text(_normal(part)) for part in _parts(row)) + _rest(row))


def prompt_key(row: Row) -> int:
    """Equal for rows that ask the same but for case and white space: what a model has seen if it trained on one."""
    return _hash(_text(_normal(last_prompt(row))))


def hold_out_point(row: Row, seed: int) -> float:
    """A number in [0, 1) that only the seed and the turns before the first answer decide, in any case and spacing."""
    text = json.dumps([seed, _normal(opening(row))], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _parts(row: Row) -> tuple[Messages, ...]:
    match row:
        case Conversation(messages):
            return (messages,)
        case Pair():
            return (row.prompt, row.chosen, row.rejected)
        case Labelled():
            return (row.prompt, row.completion)
        case Prompt():
            return (row.prompt,)


def _rest(row: Row) -> str:
    """What else tells rows of one kind apart."""
    match row:
        case Labelled():
            return f"{_PART}{row.label}"
        case Prompt() if row.extra:
            return _PART + json.dumps(_plain(row.extra), sort_keys=True, default=str)
        case _:
            return ""


def _plain(extra: Any) -> Any:
    return dict(extra)


def _normal(messages: Messages) -> Messages:
    return tuple(Message(role=turn["role"], content=_folded(turn["content"])) for turn in messages)


def _text(messages: Messages) -> str:
    return _MESSAGE.join(f"{turn['role']}{_ROLE}{turn['content']}" for turn in messages)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
