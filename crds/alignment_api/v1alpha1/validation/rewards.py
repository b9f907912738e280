"""Rewards: what the schema cannot say about their patterns."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...contract.summary import Problem
from ..alignment_job import AlignmentJobSpec


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Patterns that are no regular expressions."""
    for index, stage in enumerate(spec.stages):
        for position, term in enumerate(stage.online.rewards if stage.online is not None else ()):
            field = f"spec.stages[{index}].{stage.method}.rewards[{position}]"
            if term.format is not None and term.format.pattern is not None:
                yield from _pattern(f"{field}.format.pattern", term.format.pattern)
            if term.exact_answer is not None and term.exact_answer.extract is not None:
                yield from _pattern(f"{field}.exactAnswer.extract", term.exact_answer.extract)


def _pattern(field: str, pattern: str) -> Iterator[Problem]:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield Problem(field=field, message=f"{pattern!r} is no regular expression: {error}")
