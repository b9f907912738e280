"""The verdict of all gates of a job: whether a model may be promoted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import AlignmentJobSpec, GateStatus, Stage, StageStatus
from alignment_api.v1alpha1.evaluation import Gate


@dataclass(frozen=True)
class Verdict:
    """Whether all gates hold, with the numbers."""

    passed: bool
    reason: Reason
    message: str


def verdict(spec: AlignmentJobSpec, stages: tuple[StageStatus, ...]) -> Verdict | None:
    """The verdict over the gates of all stages; None when the specification has none.

    What a gate asks for is read from the specification, and only what was found from the status: a gate that was not
    reported, or not computed, does not hold.
    """
    reported = {stage.name: stage for stage in stages}
    decided = [entry for stage in spec.stages for entry in _decisions(stage, reported.get(stage.name))]
    if not decided:
        return None
    passed = all(holds for holds, _ in decided)
    # What failed is what the reader looks for.
    message = "; ".join(text for _, text in sorted(decided, key=lambda entry: entry[0]))
    return Verdict(passed, Reason.GATES_PASSED if passed else Reason.GATES_FAILED, message)


def chosen_candidate(stage: Stage, found: StageStatus) -> str | None:
    """Name of the candidate that the gates were decided for; None if the stage did not say."""
    names = list(stage.evaluate.candidate_fields()) if stage.evaluate is not None else []
    if len(names) == 1:
        return names[0]
    return next((candidate.name for candidate in found.candidates or () if candidate.chosen), None)


def _decisions(stage: Stage, found: StageStatus | None) -> Iterator[tuple[bool, str]]:
    """Each gate of ``stage``: whether it holds, and the numbers in words."""
    if stage.evaluate is None:
        return
    gates = stage.evaluate.gates
    reported = list(found.gates or ()) if found is not None else []
    complete = [gate.metric for gate in reported] == [gate.metric.value for gate in gates]
    where = f"stage {stage.name}"
    if stage.evaluate.candidates is not None and found is not None and (name := chosen_candidate(stage, found)):
        where += f", candidate {name}"
    for gate, outcome in zip(gates, reported if complete else [None] * len(gates), strict=True):
        holds = outcome is not None and outcome.passed and outcome.value is not None
        yield holds, f"{where}: {_described(gate, outcome, holds=holds)}"


def _described(gate: Gate, outcome: GateStatus | None, *, holds: bool) -> str:
    name = gate.metric + (f" of {gate.measure}" if gate.measure else "")
    judge = gate.judge or (outcome.judge if outcome is not None else None)
    name += f" by {judge}" if judge else ""
    name += f" ({gate.relative_to_baseline} to the baseline)" if gate.relative_to_baseline else ""
    wanted = f"{_bound(gate)} wanted"
    if outcome is None:
        return f"{name} failed: it was not reported ({wanted})"
    if outcome.value is None:
        why = f": {outcome.message}" if outcome.message else ""
        return f"{name} failed: it could not be computed{why} ({wanted})"
    interval = "" if outcome.lower is None or outcome.upper is None else f" [{outcome.lower:.3g}, {outcome.upper:.3g}]"
    result = "passed" if holds else "failed"
    return f"{name} {result}: {outcome.value:.3g}{interval} of {outcome.samples} samples, {wanted}"


def _bound(gate: Gate) -> str:
    low = gate.at_least is not None
    bound = f"at least {gate.at_least:g}" if low else f"at most {gate.at_most:g}"
    if gate.confidence is None:
        return bound
    return f"{'lower' if low else 'upper'} bound {bound} with {gate.confidence:.4g} confidence"
