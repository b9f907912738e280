"""Judges the form of a response."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from alignment_api.v1alpha1.evaluation import HeuristicJudge

from ...ngrams import repeated_share
from ...rewards.patterns import Pattern
from ..refusals import is_refusal
from ..responses import Response

_GRAM: Final = 4
_MATCH_SECONDS: Final = 1.0
"""A match that takes longer is backtracking without end, and none."""


def score(response: Response, settings: HeuristicJudge) -> float:
    """Minus the number of faults: empty, cut off at the length limit, repetitive, and what the settings ask for."""
    text = response.text
    faults = (
        not text.strip(),
        not response.finished,
        (repeated_share(text.split(), _GRAM) or 0.0) > settings.repetition_limit,
        settings.refusals and is_refusal(text),
        settings.max_characters is not None and len(text) > settings.max_characters,
        settings.pattern is not None and not _pattern(settings.pattern).fullmatch(text, _MATCH_SECONDS),
    )
    return -float(sum(faults))


@lru_cache
def _pattern(text: str) -> Pattern:
    return Pattern(text)
