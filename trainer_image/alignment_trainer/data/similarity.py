"""Texts that differ only in how they are written: in case, spaces and punctuation."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from .rows import Messages, Pair

_IN_NUMBER: Final = re.compile(r"[-.,:/](?=\d)")
_KEPT: Final = {sign: chr(code) for code, sign in enumerate("-.,:/", start=1)}
"""Signs before a digit make another number of it: -1, 1.5, 3:30. They pass as control characters, which texts lack."""

_HEAD: Final = 64


class _Table(dict[int, int | None]):
    """For `str.translate`: drops punctuation, separators and control characters; looks each one up once."""

    def __missing__(self, code: int) -> int | None:
        dropped = unicodedata.category(chr(code))[0] in "PZC"
        return self.setdefault(code, None if dropped else code)


_TABLE: Final = _Table({ord(kept): ord(kept) for kept in _KEPT.values()})


def normalized(text: str) -> str:
    """``text`` without what does not change its words: compatibility forms, case, spaces and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _IN_NUMBER.sub(lambda sign: _KEPT[sign[0]], folded).translate(_TABLE)


def near_identical(pair: Pair) -> bool:
    """Whether chosen and rejected differ only in case, spaces and punctuation; equal ones do too."""
    texts = _text(pair.chosen), _text(pair.rejected)
    return not _differ_at_once(*texts) and normalized(texts[0]) == normalized(texts[1])


def _differ_at_once(first: str, second: str) -> bool:
    """Whether the beginnings alone tell that the normalized texts differ, as most do; ASCII, in which no character
    but the last can change with what follows it."""
    heads = first[:_HEAD], second[:_HEAD]
    if not all(head.isascii() for head in heads):
        return False
    words = [normalized(head) for head in heads]
    shared = min(map(len, words)) - 1
    return shared > 0 and words[0][:shared] != words[1][:shared]


def _text(messages: Messages) -> str:
    return "\n".join(turn["content"] for turn in messages)
