"""Whether a candidate passes its gates. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from alignment_api.v1alpha1 import Gate, GateMetric, GateStatus

from .statistics import Tally, interval

_SHOWN_CONFIDENCE: Final = 0.95
"""Confidence of the interval that is shown for gates that do not ask for one."""


def decide(gates: Sequence[Gate], win_rates: Mapping[str, Tally], preferences: Tally) -> list[GateStatus]:
    """What each gate decides, in their order.

    Args:
        gates: the gates.
        win_rates: outcomes by judge, in the order of the manifest: a gate that names none uses the first.
        preferences: held-out pairs on which the candidate raised the chosen response (a win) or the rejected one.
    """
    return [_decide(gate, win_rates, preferences) for gate in gates]


def _decide(gate: Gate, win_rates: Mapping[str, Tally], preferences: Tally) -> GateStatus:
    judge = None
    tally = preferences
    if gate.metric is GateMetric.WIN_RATE:
        judge = gate.judge or next(iter(win_rates))
        tally = win_rates[judge]
    if tally.rate is None or gate.metric not in (GateMetric.WIN_RATE, GateMetric.PREFERENCE_ACCURACY):
        return GateStatus(
            metric=gate.metric.value, judge=judge, passed=False, at_least=gate.at_least, at_most=gate.at_most
        )
    lower, upper = interval(tally, gate.confidence or _SHOWN_CONFIDENCE)
    if gate.at_least is not None:
        passed = (tally.rate if gate.confidence is None else lower) >= gate.at_least
    else:
        passed = (tally.rate if gate.confidence is None else upper) <= (gate.at_most or 0)
    return GateStatus(
        metric=gate.metric.value,
        judge=judge,
        passed=passed,
        value=tally.rate,
        lower=lower,
        upper=upper,
        at_least=gate.at_least,
        at_most=gate.at_most,
        samples=tally.samples,
    )
