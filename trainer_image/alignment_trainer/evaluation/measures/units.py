"""The numbers that measures give for each document, response or question."""

from __future__ import annotations

from collections.abc import Sequence

from alignment_api.v1alpha1 import GateMetric

from ..measurement import Measurement, Series, Transform

Unit = list[float]
"""[numerator, denominator] of one document, response or question; JSON. Denominator 0: nothing to measure."""


def series_of(units: Sequence[Unit]) -> Series:
    """The series of all units, in their order."""
    return Series([unit[0] for unit in units], [unit[1] for unit in units])


def measurement(
    metric: GateMetric,
    of: str,
    candidate: str,
    own: Sequence[Unit],
    baseline: Sequence[Unit],
    transform: Transform = Transform.IDENTITY,
) -> Measurement:
    """A measure of a candidate.

    Args:
        metric: which metric.
        of: name of the text, task or classifier.
        candidate: name of the candidate.
        own: the candidate's units.
        baseline: the baseline's units, of the same documents, prompts or questions in the same order.
        transform: what is made of the ratio of the sums.
    """
    empty = [whose for whose, units in ((candidate, own), ("the baseline", baseline)) if not any(u[1] for u in units)]
    return Measurement(
        metric=metric,
        candidate=candidate,
        of=of,
        own=series_of(own) if candidate not in empty else None,
        baseline=series_of(baseline) if "the baseline" not in empty else None,
        transform=transform,
        problem=f"{of}: nothing to measure of {' and '.join(empty)}" if empty else None,
    )
