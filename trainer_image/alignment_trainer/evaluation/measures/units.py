"""The numbers that measures give for each document, response or question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from alignment_api.v1alpha1 import GateMetric

from ..measurement import Measurement, Series, Transform

Unit = list[float]
"""[numerator, denominator] of one document, response or question; JSON. Denominator 0: nothing to measure."""


class LoadedModel(Protocol):
    """A causal language model in the memory of this process."""

    @property
    def model(self) -> Any:
        """The transformers model, in evaluation mode."""

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""

    @property
    def device(self) -> Any:
        """The torch device it is on."""


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
    problem = None if any(unit[1] > 0 for unit in own) else f"{of}: there was nothing to measure"
    return Measurement(
        metric=metric,
        candidate=candidate,
        of=of,
        own=series_of(own) if problem is None else None,
        baseline=series_of(baseline) if any(unit[1] > 0 for unit in baseline) else None,
        transform=transform,
        problem=problem,
    )
