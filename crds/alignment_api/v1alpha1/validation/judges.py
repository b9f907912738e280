"""Judges: patterns that are none, secrets in addresses, and answers that the rest of the gang does not wait for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ...contract.summary import Problem
from ..alignment_job import AlignmentJobSpec
from ..evaluation import LlmJudge
from . import patterns

_ADDRESS: Final = re.compile(
    r"https?://(?P<credentials>[^/?#]*@)?(\[[0-9A-Fa-f:.]+\]|[^/?#:@\[\]]+)(:[0-9]{1,5})?([/?#].*)?"
)


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """What is wrong with the judges of evaluate stages."""
    for index, stage in enumerate(spec.stages):
        for position, judge in enumerate(stage.evaluate.judges if stage.evaluate is not None else ()):
            field = f"spec.stages[{index}].evaluate.judges[{position}]"
            if judge.heuristic is not None and judge.heuristic.pattern is not None:
                yield from patterns.problems(f"{field}.heuristic.pattern", judge.heuristic.pattern)
            if judge.llm is not None:
                yield from _llm(f"{field}.llm", judge.llm, spec.run_policy.progress_deadline_seconds)


def _llm(field: str, judge: LlmJudge, deadline: int) -> Iterator[Problem]:
    address = _ADDRESS.fullmatch(judge.url)
    if address is None:
        yield Problem(field=f"{field}.url", message=f"{judge.url!r} is no address: give one such as https://host/v1")
    elif address["credentials"] is not None:
        yield Problem(
            field=f"{field}.url",
            message="whoever can read the job can read credentials in an address: put the key into a Secret and name "
            "it in tokenSecretRef",
        )
    if judge.timeout_seconds >= deadline:
        yield Problem(
            field=f"{field}.timeoutSeconds",
            message=f"{judge.timeout_seconds} seconds for an answer are not less than "
            f"runPolicy.progressDeadlineSeconds {deadline}, after which the gang is taken for dead: lower the one, or "
            "raise the other",
        )
