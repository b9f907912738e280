"""The verdict of all gates of a job: whether the model is promoted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import GateStatus, StageStatus


@dataclass(frozen=True)
class Verdict:
    """Whether all gates hold, with the numbers."""

    passed: bool
    reason: Reason
    message: str


def verdict(stages: Sequence[StageStatus]) -> Verdict | None:
    """The verdict over the gates of all stages; None when no stage has any."""
    decided = [(stage.name, gate) for stage in stages for gate in stage.gates or ()]
    if not decided:
        return None
    passed = all(gate.passed for _, gate in decided)
    # What failed is what the reader looks for.
    ordered = sorted(decided, key=lambda entry: entry[1].passed)
    message = "; ".join(f"stage {stage}: {_described(gate)}" for stage, gate in ordered)
    return Verdict(passed, Reason.GATES_PASSED if passed else Reason.GATES_FAILED, message)


def _described(gate: GateStatus) -> str:
    name = gate.metric + (f" by {gate.judge}" if gate.judge else "")
    outcome = "passed" if gate.passed else "failed"
    if gate.value is None:
        return f"{name} {outcome}: it could not be computed ({_bound(gate)} wanted)"
    interval = "" if gate.lower is None or gate.upper is None else f" [{gate.lower:.3g}, {gate.upper:.3g}]"
    return f"{name} {outcome}: {gate.value:.3g}{interval} of {gate.samples} samples, {_bound(gate)} wanted"


def _bound(gate: GateStatus) -> str:
    return f"at least {gate.at_least:g}" if gate.at_least is not None else f"at most {gate.at_most:g}"
