"""Judges the form of a response. Pure."""

from __future__ import annotations

from ..language_model import Response

_GRAM = 4


def score(response: Response, repetition_limit: float) -> float:
    """Minus the number of faults: empty, cut off at the length limit, repetitive."""
    faults = (
        not response.text.strip(),
        not response.finished,
        repetition(response.text) > repetition_limit,
    )
    return -float(sum(faults))


def repetition(text: str) -> float:
    """Share of the text's 4-grams of words that occurred before in it; 0 when it has none."""
    words = text.split()
    grams = [tuple(words[i : i + _GRAM]) for i in range(len(words) - _GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
