"""What scorers answer, turned into rewards or into an error that names the row. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from .scoring import ScoringError

_EXCERPT: Final = 60


def rewards_of(answer: Sequence[object], rows: int) -> list[float | None]:
    """The rewards in ``answer``.

    Args:
        answer: what a scorer returned for a batch.
        rows: number of responses in the batch.

    Raises:
        ScoringError: there are more or fewer rewards than responses, or one is no finite number.
    """
    if len(answer) != rows:
        raise ScoringError(f"returned {len(answer)} rewards for {rows} responses: return one for each, or None")
    return [_reward(value, row) for row, value in enumerate(answer)]


def excerpt(text: str) -> str:
    """The beginning of ``text`` on one line, for messages."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _EXCERPT else flat[: _EXCERPT - 3] + "..."


def _reward(value: object, row: int) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ScoringError(f"returned {excerpt(repr(value))}, which is no number", row)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ScoringError(f"returned {number}, which is no finite number", row)
    return number
