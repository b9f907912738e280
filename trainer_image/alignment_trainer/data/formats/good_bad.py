"""``good`` and ``bad`` responses to a ``prompt`` or ``instruction``: each good one is preferred to each bad one."""

from __future__ import annotations

from typing import Final

from ..rows import Messages, Pair, Role, RowError, message
from .base import Format, SourceRow, column, prompt_messages, type_name

MOST_PAIRS: Final = 1024
"""Pairs that one row may make: the product of two long lists would drown all other prompts."""


def convert(row: SourceRow) -> tuple[Pair, ...]:
    """Every pair of a good and a bad response, in the order of the lists, the bad ones changing faster.

    Raises:
        RowError: a column is missing, holds no texts, or the lists make more than ``MOST_PAIRS`` pairs.
    """
    prompt = _prompt(row)
    good, bad = (_responses(row, name) for name in ("good", "bad"))
    if len(good) * len(bad) > MOST_PAIRS:
        raise RowError("good", f"{len(good)} good and {len(bad)} bad responses make more than {MOST_PAIRS} pairs")
    return tuple(Pair(prompt, chosen, rejected) for chosen in good for rejected in bad)


def matches(row: SourceRow) -> bool:
    """Whether there are good and bad responses to something."""
    return "good" in row and "bad" in row and ("prompt" in row or "instruction" in row)


def _prompt(row: SourceRow) -> Messages:
    name = "instruction" if row.get("prompt") is None and row.get("instruction") is not None else "prompt"
    return prompt_messages(row, name)


def _responses(row: SourceRow, name: str) -> list[Messages]:
    """The responses in a column, which holds a text or a list of texts."""
    value = column(row, name)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple):
        raise RowError(name, f"must be text or a list of texts, not {type_name(value)}")
    if not texts:
        raise RowError(name, "is an empty list: a pair needs one response of each kind")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise RowError(f"{name}[{index}]", f"must be text, not {type_name(text)}")
    return [(message(Role.ASSISTANT, text),) for text in texts]


FORMAT = Format(columns=("prompt or instruction", "good", "bad"), matches=matches, convert=convert)
