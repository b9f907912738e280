"""What a metric of a candidate comes to, and how sure that is. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from alignment_api.v1alpha1 import GateMetric
from alignment_api.v1alpha1.evaluation import RelativeTo

from . import length_control
from .bootstrap import Bounds, Floats, Statistic, bounded, resamples_for, studentized, three_valued
from .measurement import Measurement, Series, Transform
from .statistic import statistic_of

_SHARES: Final = frozenset(
    {
        GateMetric.WIN_RATE,
        GateMetric.PREFERENCE_ACCURACY,
        GateMetric.FINISHED,
        GateMetric.REFUSALS,
        GateMetric.REPETITION,
        GateMetric.DISTINCT_1,
        GateMetric.DISTINCT_2,
        GateMetric.DISTINCT_3,
        GateMetric.SELF_SIMILARITY,
        GateMetric.CLASSIFIER,
        GateMetric.TASK,
    }
)
"""Metrics whose units lie between 0 and 1; those of a task may lie elsewhere, which is looked at."""

_FEW_DIFFER: Final = 30
"""Where fewer units differ from the commonest one, resamples in which none or almost none does are too common."""

_REFITS_COST: Final = 4
"""How much more a refit takes than sums: so many times fewer are made."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: the estimate, a finite number.
        lower: lower bound; None if the units tell none, as a single one does.
        upper: upper bound, likewise.
        samples: units with something to measure.
    """

    value: float
    lower: float | None
    upper: float | None
    samples: int


@dataclass(frozen=True)
class Unknown:
    """Why there is no estimate, in words for people."""

    reason: str


@np.errstate(over="ignore")
def estimate(
    measurement: Measurement,
    *,
    relative_to: RelativeTo | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int | None = None,
) -> Estimate | Unknown:
    """The value of a metric and its two-sided interval, by a bootstrap over units.

    Candidate and baseline are resampled together, so what makes a prompt hard for both cancels.

    Args:
        measurement: what was measured.
        relative_to: take the difference or ratio to the baseline's value; None: the value itself.
        confidence: coverage of the interval, such as 0.95.
        seed: of the resamples; the same numbers give the same interval.
        resamples: how many; None: as many as ``confidence`` takes.
    """
    own, baseline = measurement.own, measurement.baseline if relative_to is not None else None
    if own is None or (relative_to is not None and baseline is None):
        missing = "the candidate" if own is None else "the baseline"
        return Unknown(measurement.problem or f"there are no numbers of {missing}")
    if measurement.length_differences is not None:
        refits = resamples or resamples_for(confidence) // _REFITS_COST
        return _length_controlled(own, measurement.length_differences, confidence, refits, seed)
    table = _table(own, baseline)
    if isinstance(table, Unknown):
        return table
    totals = table.sum(axis=0)
    if totals[1] == 0 or (baseline is not None and totals[3] == 0):
        return Unknown(f"there is nothing to measure of {'the candidate' if totals[1] == 0 else 'the baseline'}")
    if relative_to is RelativeTo.RATIO and measurement.transform is Transform.IDENTITY and totals[2] == 0:
        return Unknown("the baseline's value is 0, which there is no ratio to")
    statistic = statistic_of(measurement.transform, relative_to, log=bool((totals > 0).all()))
    value = float(statistic.to_value(statistic.of_means(table.mean(axis=0))))
    if not math.isfinite(value):
        return Unknown("the value is no finite number")
    if len(table) == 1:
        return Estimate(value, None, None, 1)
    count = resamples or resamples_for(confidence)
    if _is_share_of_each(measurement, table):
        bounds = _bounds_of_share(table, statistic, relative_to, confidence, count, seed)
    else:
        bounds = studentized(table, statistic, confidence, count, seed)
    return _estimate(value, bounds, len(table))


def _length_controlled(
    own: Series, differences: Sequence[float], confidence: float, refits: int, seed: int
) -> Estimate | Unknown:
    table = _table(own, Series(differences, own.denominators))
    if isinstance(table, Unknown):
        return table
    found = length_control.fit(table[:, 0], table[:, 2], confidence, refits, seed)
    return _estimate(found.win_rate, found.bounds, len(table))


def _bounds_of_share(
    table: Floats, statistic: Statistic, relative_to: RelativeTo | None, confidence: float, resamples: int, seed: int
) -> Bounds:
    low, high = {None: (0.0, 1.0), RelativeTo.DIFFERENCE: (-1.0, 1.0), RelativeTo.RATIO: (0.0, math.inf)}[relative_to]
    shares = table[:, ::2]
    compared = shares if relative_to is RelativeTo.RATIO else shares @ [[1.0], [-1.0]][: shares.shape[1]]
    if relative_to is not RelativeTo.RATIO:
        outcomes = Counter(((compared[:, 0] - low) / (high - low)).tolist())
        if outcomes.keys() <= {0.0, 0.5, 1.0}:
            lower, upper = three_valued(outcomes[0.0], outcomes[0.5], outcomes[1.0], confidence)
            return low + (high - low) * lower, low + (high - low) * upper
    if any(_few_differ(column) for column in compared.T):
        ends = np.array([[0, 1, 1, 1], [1, 1, 0, 1]] if shares.shape[1] == 2 else [[0, 1], [1, 1]], dtype=np.float64)
        lower, upper = bounded(table, ends, statistic, confidence, resamples, seed)
    else:
        lower, upper = studentized(table, statistic, confidence, resamples, seed)
    return max(lower, low), min(upper, high)


def _table(own: Series, baseline: Series | None) -> Floats | Unknown:
    """[units, 2 or 4]: numerators and denominators of the candidate and, if asked for, of the baseline."""
    columns: list[Sequence[float]] = [own.numerators, own.denominators]
    if baseline is not None:
        columns += [baseline.numerators, baseline.denominators]
    lengths = {len(column) for column in columns}
    if len(lengths) != 1:
        return Unknown(f"the numbers of candidate and baseline do not belong together: {sorted(lengths)} units")
    table = np.array(columns, dtype=np.float64).T
    if not np.isfinite(table).all():
        wrong = int((~np.isfinite(table)).any(axis=1).sum())
        return Unknown(f"{wrong} of {len(table)} units are not finite numbers")
    if (table[:, 1::2] < 0).any():
        return Unknown("some units have negative sizes")
    there = table[(table[:, 1::2] > 0).any(axis=1)]
    return there if len(there) else Unknown("there is nothing to measure: no prompts, pairs, documents or questions")


def _is_share_of_each(measurement: Measurement, table: Floats) -> bool:
    """Whether each unit counts the same and is a number in [0, 1], in both models."""
    if measurement.metric not in _SHARES or measurement.transform is not Transform.IDENTITY:
        return False
    return bool((table[:, 1::2] == 1).all() and (table[:, ::2] >= 0).all() and (table[:, ::2] <= 1).all())


def _few_differ(column: Floats) -> bool:
    _, counts = np.unique(column, return_counts=True)
    return len(column) - int(counts.max()) < _FEW_DIFFER


def _estimate(value: float, bounds: Bounds, samples: int) -> Estimate:
    lower, upper = min(bounds[0], value), max(bounds[1], value)
    return Estimate(
        value=value,
        lower=lower if math.isfinite(lower) else None,
        upper=upper if math.isfinite(upper) else None,
        samples=samples,
    )
