"""Bootstrap intervals (Efron and Tibshirani, 1993, "An Introduction to the Bootstrap"). Pure.

Which of the three is right depends on the units: `three_valued` for wins, ties and losses, `bounded` for shares of
which few units differ, `studentized` for everything else. Compared by simulation, the studentized bootstrap covers
what it says from 50 units on, also with skewed ones, where percentile and BCa intervals (Efron, 1987,
doi:10.1080/01621459.1987.10478410) miss the far side too often; but it takes its scale from the resamples, and fails
where many of them have units that are all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bounds = tuple[float, float]
"""Lower and upper; infinite where the resamples give none."""

_DRAWS_AT_ONCE: Final = 1 << 21
"""Units drawn at a time: about 50 MB."""

_FEWEST_RESAMPLES: Final = 4000
_MOST_RESAMPLES: Final = 100_000
_IN_EACH_TAIL: Final = 50


@dataclass(frozen=True)
class Statistic:
    """A smooth function of the means of the units' columns.

    Attributes:
        of_means: [..., columns] -> [...], on the scale on which its distribution is closest to symmetric.
        gradient: [..., columns] -> [..., columns], of ``of_means``.
        to_value: from that scale to the value; increasing.
    """

    of_means: Callable[[Floats], Floats]
    gradient: Callable[[Floats], Floats]
    to_value: Callable[[Any], Any]


def resamples_for(confidence: float) -> int:
    """How many resamples an interval takes, so that enough of them lie outside of it."""
    return int(np.clip(round(2 * _IN_EACH_TAIL / (1 - confidence)), _FEWEST_RESAMPLES, _MOST_RESAMPLES))


def studentized(units: Floats, statistic: Statistic, confidence: float, resamples: int, seed: int) -> Bounds:
    """The bootstrap-t interval (Efron and Tibshirani, 1993, section 12.5), with the delta method's standard error.

    Args:
        units: [units, columns]; at least one.
        statistic: what is estimated.
        confidence: coverage, such as 0.95.
        resamples: how often to draw as many units, with replacement.
        seed: of the draws.

    Returns:
        The bounds of the value; equal if the standard error is 0, infinite where resamples of few units are alike.
    """
    center = units.mean(axis=0)
    estimate = statistic.of_means(center)
    left, right = np.triu_indices(units.shape[1])
    shifted = units - center
    columns = np.hstack([shifted, shifted[:, left] * shifted[:, right]])
    error = _standard_error(columns.mean(axis=0)[None], center, statistic, len(units))[0]
    if error == 0:
        value = float(statistic.to_value(estimate))
        return value, value
    pivots = np.empty(resamples)
    with np.errstate(all="ignore"):
        for begin, means in _resampled_means(columns, len(units), resamples, seed):
            errors = _standard_error(means, center, statistic, len(units))
            values = statistic.of_means(center + means[:, : len(center)])
            pivots[begin : begin + len(means)] = (values - estimate) / errors
        low, high = outer_quantiles(pivots, confidence)
        lower, upper = (statistic.to_value(estimate - pivot * error) for pivot in (high, low))
    return float(lower), float(upper)


def bounded(units: Floats, ends: Floats, statistic: Statistic, confidence: float, resamples: int, seed: int) -> Bounds:
    """The percentile interval of the units and half a unit of each kind in ``ends``.

    For shares: units in [0, 1] of which so few differ from the others that resamples without them are common. The
    halves stand for what was not seen, as Jeffreys' prior does for proportions.

    Args:
        units: [units, columns].
        ends: [2, columns]; the most extreme units there can be.
        statistic: what is estimated.
        confidence: coverage.
        resamples: how often to draw as many units, with replacement.
        seed: of the draws.
    """
    found = np.empty(resamples)
    with np.errstate(all="ignore"):
        for begin, means in _resampled_means(np.vstack([units, ends]), len(units), resamples, seed):
            found[begin : begin + len(means)] = statistic.to_value(statistic.of_means(means))
    return outer_quantiles(found, confidence)


def three_valued(losses: int, ties: int, wins: int, confidence: float) -> Bounds:
    """An interval of the mean of outcomes 0, 1/2 and 1; of proportions too, which have no ties.

    The percentile interval of the bootstrap with half a win and half a loss added (as Jeffreys' prior does; Bonett and
    Price, 2012, doi:10.3102/1076998611411915, add whole ones), and with a correction for continuity: half the distance
    between the values that the mean can take. The distribution over all resamples is known, the n-th power of a
    polynomial, so none are drawn. The additions keep the interval from collapsing where all outcomes are the same, and
    the correction keeps the error of comparing equals at what is asked (Wilson's interval exceeds 3 % of nominal 2.5 %
    for some n, and covers too often with many ties).

    Args:
        losses: outcomes 0.
        ties: outcomes 1/2.
        wins: outcomes 1; at least one outcome altogether.
        confidence: coverage.

    Returns:
        Bounds within [0, 1].
    """
    n = losses + ties + wins
    below, at, above = (losses + 0.5) / (n + 1), ties / (n + 1), (wins + 0.5) / (n + 1)
    points = 2 * n + 1
    roots = np.exp(-2j * np.pi * np.arange(n + 1) / points)
    masses = np.fft.irfft((below + at * roots + above * roots**2) ** n, points).clip(min=0)
    cumulative = np.concatenate([[0.0], np.cumsum(masses)])
    edges = (np.arange(points + 1) - 0.5) / (2 * n)
    tail = (1 - confidence) / 2
    low, high = np.interp([tail, 1 - tail], cumulative / cumulative[-1], edges)
    half = half_a_step(n, ties)
    return max(0.0, float(low) - half), min(1.0, float(high) + half)


def half_a_step(outcomes: int, ties: int) -> float:
    """Half the distance between values that a mean of ``outcomes`` 0, 1/2 (``ties`` of them) and 1 can take."""
    return (0.25 if ties else 0.5) / outcomes


def resampled_counts(size: int, halves: int, resamples: int, seed: int) -> Iterator[tuple[int, Floats]]:
    """How often each unit is drawn in resamples of ``size`` draws, in chunks that fit into memory.

    Args:
        size: units of weight 1.
        halves: units of weight 1/2, after them.
        resamples: how many resamples altogether.
        seed: of the draws.

    Yields:
        Number of the first resample, and counts [some resamples, size + halves].
    """
    generator = np.random.default_rng(seed)
    units = size + halves
    at_once = max(1, _DRAWS_AT_ONCE // size)
    for begin in range(0, resamples, at_once):
        some = min(at_once, resamples - begin)
        if halves:  # of 2 size + halves numbers, two stand for each unit of weight 1
            drawn = generator.integers(0, 2 * size + halves, size=(some, size), dtype=np.int32)
            drawn = np.maximum(drawn >> 1, drawn - np.int32(size))
        else:
            drawn = generator.integers(0, size, size=(some, size), dtype=np.int32)
        drawn += np.arange(0, some * units, units, dtype=np.int32)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=some * units).reshape(some, units)
        yield begin, counts.astype(np.float64)


def outer_quantiles(values: Floats, confidence: float) -> Bounds:
    """Bounds between which ``confidence`` of the values lie; undefined values count as lying on both sides.

    The k-th value from either end, k the whole part of (n + 1)(1 - confidence) / 2; infinite if there are too few.
    """
    k = int((len(values) + 1) * (1 - confidence) / 2)
    if k == 0:
        return -np.inf, np.inf
    undefined = np.isnan(values)
    low = np.partition(np.where(undefined, -np.inf, values), k - 1)[k - 1]
    high = np.partition(np.where(undefined, np.inf, values), len(values) - k)[len(values) - k]
    return float(low), float(high)


def _resampled_means(rows: Floats, size: int, resamples: int, seed: int) -> Iterator[tuple[int, Floats]]:
    """Number of the first, and means [some resamples, columns]; rows after the first ``size`` weigh 1/2."""
    for begin, counts in resampled_counts(size, len(rows) - size, resamples, seed):
        yield begin, counts @ rows / size


def _standard_error(means: Floats, center: Floats, statistic: Statistic, units: int) -> Floats:
    """[resamples]; ``means`` holds those of the columns less ``center``, then those of their products."""
    columns = len(center)
    first = means[:, :columns]
    left, right = np.triu_indices(columns)
    covariance = np.empty((len(means), columns, columns))
    covariance[:, left, right] = means[:, columns:] - first[:, left] * first[:, right]
    covariance[:, right, left] = covariance[:, left, right]
    gradient = statistic.gradient(center + first)
    variance = np.einsum("ri,rij,rj->r", gradient, covariance, gradient)
    # What rounding leaves of a variance of 0 must not pass for one.
    scale = np.einsum("ri,rii->r", gradient**2, covariance)
    variance[variance < 1e-13 * scale] = 0
    return np.asarray(np.sqrt(variance / max(units - 1, 1)))
