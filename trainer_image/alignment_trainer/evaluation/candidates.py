"""Which of several candidates is best. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignment_api.v1alpha1 import CandidateStatus, Gate, GateStatus

from .gates import decide
from .measurement import Measurement


@dataclass(frozen=True)
class Choice:
    """The best candidate.

    Attributes:
        name: its name.
        gates: what each gate decided about each candidate, by name.
        candidates: all of them, in the order of the manifest.
    """

    name: str
    gates: Mapping[str, list[GateStatus]]
    candidates: list[CandidateStatus]

    @property
    def passed(self) -> bool:
        """Whether all gates hold for the chosen one."""
        return all(gate.passed for gate in self.gates[self.name])


def choose(gates: Sequence[Gate], measurements: Mapping[str, Sequence[Measurement]], judges: Sequence[str]) -> Choice:
    """The candidate that passes most gates, and of several the best by the first gate's metric.

    So one that passes all gates comes before all that do not. Equal ones: the first. Without gates: the first.

    Args:
        gates: the gates of the evaluation.
        measurements: what was measured of each candidate, in the order of the manifest; at least one.
        judges: names of the judges, in the order of the manifest.
    """
    decided = {name: decide(gates, found, judges) for name, found in measurements.items()}
    best = max(decided, key=lambda name: _rank(gates, decided[name]))
    return Choice(
        name=best,
        gates=decided,
        candidates=[
            CandidateStatus(
                name=name,
                passed_gates=sum(gate.passed for gate in found),
                value=found[0].value if found else None,
                chosen=name == best,
            )
            for name, found in decided.items()
        ],
    )


def _rank(gates: Sequence[Gate], decided: Sequence[GateStatus]) -> tuple[int, float]:
    if not gates:
        return 0, 0.0
    value = decided[0].value
    upwards = gates[0].at_least is not None
    return sum(gate.passed for gate in decided), -math.inf if value is None else value if upwards else -value
