"""Rewards: patterns that are none, and time limits that the rest of the gang does not wait for."""

from __future__ import annotations

from collections.abc import Iterator

from ...contract.summary import Problem
from ..alignment_job import AlignmentJobSpec, Stage
from ..methods import Reward
from . import patterns


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Patterns that are no regular expressions, and rewards that may take longer than a gang may stand still."""
    for index, stage in enumerate(spec.stages):
        for position, term in enumerate(stage.online.rewards if stage.online is not None else ()):
            field = f"spec.stages[{index}].{stage.method}.rewards[{position}]"
            found = _patterns(term)
            for path, pattern in found.items():
                yield from patterns.problems(f"{field}.{path}", pattern)
            if found or term.math_answer or term.python or term.http:
                yield from _timeout(f"{field}.timeoutSeconds", term, stage, spec)


def _patterns(term: Reward) -> dict[str, str]:
    """The term's regular expressions, by their path below it."""
    found = {
        "format.pattern": term.format.pattern if term.format else None,
        "exactAnswer.extract": term.exact_answer.extract if term.exact_answer else None,
    }
    return {path: pattern for path, pattern in found.items() if pattern is not None}


def _timeout(field: str, term: Reward, stage: Stage, spec: AlignmentJobSpec) -> Iterator[Problem]:
    runtime = spec.runtime_of(stage)
    limits = {"runPolicy.progressDeadlineSeconds": spec.run_policy.progress_deadline_seconds}
    if runtime.nodes * runtime.processes_per_node > 1:
        limits["runtime.communication.timeoutSeconds"] = runtime.communication.timeout_seconds
    for name, limit in limits.items():
        if term.timeout_seconds >= limit:
            yield Problem(
                field=field,
                message=f"{term.timeout_seconds} seconds for a batch are not less than {name} {limit}, after which the "
                "gang is taken for dead: lower the one, or raise the other",
            )
