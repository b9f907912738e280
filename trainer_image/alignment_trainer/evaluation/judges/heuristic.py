"""Judges the form of a response. Pure."""

from __future__ import annotations

from ...rewards.repetition import repeated_share
from ..language_model import Response

_GRAM = 4


def score(response: Response, repetition_limit: float) -> float:
    """Minus the number of faults: empty, cut off at the length limit, repetitive."""
    faults = (
        not response.text.strip(),
        not response.finished,
        repeated_share(response.text, _GRAM) > repetition_limit,
    )
    return -float(sum(faults))
