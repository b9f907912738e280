"""Prompts and rewards of the tests of online methods, and the same rewards as the functions a TRL user would write."""

from __future__ import annotations

from typing import Any, Final

from . import tiny

REWARDS: Final[list[dict[str, Any]]] = [
    {"name": "letter", "weight": 2.0, "format": {"pattern": ".*e.*"}},
    {"name": "brief", "weight": 0.5, "length": {"maxTokens": 4, "slack": 8}},
]
"""The stage's rewards; responses of an untrained model differ in both."""

END_TOKEN: Final = 1
"""The id of ``<|end|>`` in `tiny`'s tokenizer."""
WEIGHTS: Final = [2.0, 0.5]
FUNCTIONS: Final = [f"{__name__}.letter", f"{__name__}.brief"]


def prompt_rows(count: int) -> list[dict[str, Any]]:
    """Questions with a column for reward functions."""
    return [{"prompt": row["prompt"], "answer": str(number)} for number, row in enumerate(tiny.preference_rows(count))]


def letter(completions: list[Any], **_: Any) -> list[float]:
    """1 for responses with an e in them."""
    return [float("e" in turns[0]["content"]) for turns in completions]


def brief(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """0 up to 4 tokens, -1 from 12 on, and a line between them; the end token does not count."""
    lengths = [len(ids) - (ids[-1] == END_TOKEN) for ids in completion_ids]
    return [-min(max(length - 4, 0) / 8, 1.0) for length in lengths]
