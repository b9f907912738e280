"""How far judges agree, beyond what chance would give. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .bootstrap import Floats, outer_quantiles, resamples_for

_LABELS: Final = (1.0, 0.5, 0.0)
"""Win, tie, loss."""


@dataclass(frozen=True)
class Kappa:
    """Agreement of judges.

    Attributes:
        value: 1: they always agree, 0: no more than chance; None where it is not defined: without a comparison on
            which all gave a verdict, or when all gave the same one to every comparison.
        lower: lower bound of its interval, None where resamples give none.
        upper: upper bound, likewise.
        samples: comparisons on which all gave a verdict.
    """

    value: float | None
    lower: float | None
    upper: float | None
    samples: int


def kappa(
    first: Sequence[float | None], second: Sequence[float | None], *, confidence: float = 0.95, seed: int = 0
) -> Kappa:
    """Cohen's kappa of two judges (Cohen, 1960, doi:10.1177/001316446002000104).

    Args:
        first: one judge's outcomes, 1, 0.5 or 0; None without a verdict.
        second: the other's, of the same comparisons.
        confidence: coverage of the bootstrap interval.
        seed: of the resamples.

    Raises:
        ValueError: there are different numbers of outcomes, or an outcome is none of these.
    """
    return _agreement([first, second], _cohen, confidence, seed)


def fleiss_kappa(judges: Sequence[Sequence[float | None]], *, confidence: float = 0.95, seed: int = 0) -> Kappa:
    """Fleiss' kappa of two judges or more (Fleiss, 1971, doi:10.1037/h0031619).

    Args:
        judges: the outcomes of each, as for `kappa`.
        confidence: coverage of the bootstrap interval.
        seed: of the resamples.

    Raises:
        ValueError: as for `kappa`, or there are fewer than two judges.
    """
    if len(judges) < 2:
        raise ValueError("judges agree with others: it takes at least two")
    return _agreement(judges, _fleiss, confidence, seed)


_Formula = Callable[[Floats, Floats], Floats]
"""(kinds [kinds, judges, labels] of comparisons, their shares [..., kinds]) -> kappa [...]."""


def _agreement(judges: Sequence[Sequence[float | None]], formula: _Formula, confidence: float, seed: int) -> Kappa:
    rows = [row for row in zip(*judges, strict=True) if None not in row]
    tally = Counter(rows)
    if not tally:
        return Kappa(None, None, None, 0)
    kinds = np.array([[_one_hot(label) for label in row] for row in tally])
    shares = np.array(list(tally.values())) / len(rows)
    drawn = np.random.default_rng(seed).multinomial(len(rows), shares, size=resamples_for(confidence)) / len(rows)
    with np.errstate(all="ignore"):
        value = float(formula(kinds, shares))
        lower, upper = outer_quantiles(formula(kinds, drawn), confidence)
    return Kappa(_finite(value), _finite(lower), _finite(upper), len(rows))


def _one_hot(label: float | None) -> list[float]:
    if label not in _LABELS:
        raise ValueError(f"{label} is no outcome: it must be one of {_LABELS}")
    return [float(label == known) for known in _LABELS]


def _cohen(kinds: Floats, shares: Floats) -> Floats:
    observed = shares @ (kinds[:, 0] * kinds[:, 1]).sum(axis=1)
    expected = ((shares @ kinds[:, 0]) * (shares @ kinds[:, 1])).sum(axis=-1)
    return np.asarray((observed - expected) / (1 - expected))


def _fleiss(kinds: Floats, shares: Floats) -> Floats:
    judges = kinds.shape[1]
    votes = kinds.sum(axis=1)
    observed = shares @ ((votes * (votes - 1)).sum(axis=1) / (judges * (judges - 1)))
    expected = ((shares @ votes / judges) ** 2).sum(axis=-1)
    return np.asarray((observed - expected) / (1 - expected))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
