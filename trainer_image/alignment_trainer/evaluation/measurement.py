"""What is measured of a candidate, in a form from which values, intervals and comparisons are computed alike.

Every metric but the length-controlled win rate is a ratio of two sums over independent units: prompts, pairs, documents
or questions. A win rate is the sum of outcomes over their number; a perplexity the exponential of summed negative
log-probabilities over tokens. Resampling units resamples numerators and denominators together, and, because the units
of candidate and baseline are the same, both models together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from alignment_api.v1alpha1 import GateMetric


class Transform(StrEnum):
    """What is made of the ratio of the sums."""

    IDENTITY = "identity"
    EXP = "exp"


@dataclass(frozen=True)
class Series:
    """One number pair for each unit.

    Attributes:
        numerators: [units].
        denominators: [units], none negative. A unit with 0 has nothing to measure, such as an empty response.
    """

    numerators: Sequence[float]
    denominators: Sequence[float]

    @classmethod
    def mean_of(cls, values: Sequence[float]) -> Series:
        """The series whose ratio is the mean of ``values``."""
        return cls(values, [1.0] * len(values))


@dataclass(frozen=True)
class Measurement:
    """One metric of one candidate.

    Attributes:
        metric: which.
        candidate: the candidate's name.
        of: the judge, text, task or classifier; None for metrics of which there is one.
        own: the candidate's numbers, or for comparative metrics those of the comparison; None if they could not be had.
        baseline: the baseline's numbers on the same units; None for comparative metrics, or if they could not be had.
        transform: what is made of the ratio.
        length_differences: of the length-controlled win rate alone: how much longer the candidate's response is, for
            each unit, in tokens.
        problem: why ``own`` or ``baseline`` could not be had, in words for the user.
    """

    metric: GateMetric
    candidate: str
    own: Series | None
    baseline: Series | None = None
    of: str | None = None
    transform: Transform = Transform.IDENTITY
    length_differences: Sequence[float] | None = None
    problem: str | None = None
