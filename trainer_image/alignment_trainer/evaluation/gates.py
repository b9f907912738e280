"""Whether a candidate passes its gates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alignment_api.v1alpha1 import Gate, GateStatus
from alignment_api.v1alpha1.evaluation.gates import JUDGED_METRICS

from .estimates import Estimate, Unknown, estimate
from .measurement import Measurement

_SHOWN_CONFIDENCE: Final = 0.95
"""Confidence of the interval that is shown for gates that do not ask for one."""

_LONGEST_MESSAGE: Final = 256


def decide(gates: Sequence[Gate], measurements: Sequence[Measurement], judges: Sequence[str]) -> list[GateStatus]:
    """What each gate decides about one candidate, in their order.

    Args:
        gates: the gates.
        measurements: all that was measured of the candidate.
        judges: names of the judges, in the order of the manifest: a gate that names none uses the first.
    """
    return [_decide(gate, measurements, judges) for gate in gates]


def _decide(gate: Gate, measurements: Sequence[Measurement], judges: Sequence[str]) -> GateStatus:
    judge = (gate.judge or next(iter(judges), None)) if gate.metric in JUDGED_METRICS else None
    of = judge or gate.measure
    found = next((one for one in measurements if one.metric is gate.metric and one.of == of), None)
    status = GateStatus(
        metric=gate.metric.value,
        judge=judge,
        measure=gate.measure,
        relative_to_baseline=gate.relative_to_baseline.value if gate.relative_to_baseline else None,
        passed=False,
        confidence=gate.confidence,
        at_least=gate.at_least,
        at_most=gate.at_most,
    )
    if found is None:
        return _failed(status, f"{gate.metric.value}{f' of {of}' if of else ''} was not measured")
    came_to = estimate(found, relative_to=gate.relative_to_baseline, confidence=gate.confidence or _SHOWN_CONFIDENCE)
    if isinstance(came_to, Unknown):
        return _failed(status, came_to.reason)
    numbers = {"value": came_to.value, "lower": came_to.lower, "upper": came_to.upper, "samples": came_to.samples}
    status = status.model_copy(update=numbers)
    if gate.confidence is not None and (problem := _not_sure(gate, came_to)) is not None:
        return _failed(status, problem)
    return status.model_copy(update={"passed": _holds(gate, came_to)})


def _holds(gate: Gate, found: Estimate) -> bool:
    sure = gate.confidence is not None
    low, high = (found.lower, found.upper) if sure else (found.value, found.value)
    if gate.at_least is not None:
        return low is not None and low >= gate.at_least
    return high is not None and gate.at_most is not None and high <= gate.at_most


def _not_sure(gate: Gate, found: Estimate) -> str | None:
    """Why the interval says nothing about the gate, if so."""
    bound, threshold = (found.lower, gate.at_least) if gate.at_least is not None else (found.upper, gate.at_most)
    if bound is None:
        return (
            f"{found.samples} samples with these numbers are too few for an interval at confidence {gate.confidence:g}"
        )
    if found.lower == found.upper == threshold:
        # A candidate that is no better than the bound must fail, however surely it is no better.
        return f"all {found.samples} samples give exactly the gate's bound: they show nothing beyond it"
    return None


def _failed(status: GateStatus, message: str) -> GateStatus:
    short = message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 3]}..."
    return status.model_copy(update={"message": short})
