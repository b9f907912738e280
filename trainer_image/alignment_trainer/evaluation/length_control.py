"""The win rate that would be, had both models answered at equal length (Dubois et al., 2024, arXiv:2404.04475). Pure.

Judges like long responses. The outcome of a comparison is modelled as sigmoid(quality + slope * x) with
x = tanh(length difference / standard deviation of the differences); the length-controlled win rate is the sigmoid of
``quality``, the outcome at no difference. The paper's term for the difficulty of a prompt needs many models, and is
left out. A ridge of weight 1 on the slope keeps it finite where lengths foretell every outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .bootstrap import Bounds, Floats, half_a_step, outer_quantiles, resampled_counts, three_valued

_RIDGE: Final = 1.0
_LARGEST_STEP: Final = 2.0
_LARGEST: Final = 30.0
"""Of the quality: a sigmoid that is 1 to 13 digits. That of a resample of nothing but wins is infinite."""

_STEPS: Final = 60
_CLOSE: Final = 1e-8


@dataclass(frozen=True)
class LengthControlled:
    """The fit.

    Attributes:
        win_rate: at no difference in length.
        slope: how much longer responses are liked; 0: not at all.
        bounds: of the win rate.
    """

    win_rate: float
    slope: float
    bounds: Bounds


def fit(outcomes: Floats, differences: Floats, confidence: float, resamples: int, seed: int) -> LengthControlled:
    """Fit the model, and refit it to resamples.

    The interval is the percentile one, with half a win and half a loss at equal length and a correction for
    continuity, as in `three_valued`.

    Args:
        outcomes: [units]; 1 if the candidate wins, 0.5 for a tie, 0 if it loses; at least one.
        differences: [units]; tokens by which the candidate's response is longer.
        confidence: coverage of the interval.
        resamples: how often to refit.
        seed: of the resamples.
    """
    losses, ties, wins = (int((outcomes == outcome).sum()) for outcome in (0.0, 0.5, 1.0))
    if len(outcomes) in (losses, ties, wins):
        return LengthControlled(float(outcomes[0]), 0.0, three_valued(losses, ties, wins, confidence))
    lengths = standardized(differences)
    start = _newton(np.ones((1, len(outcomes))), lengths, outcomes, np.zeros((1, 2)))
    quality, slope = start[0]
    lengths, won = np.append(lengths, [0.0, 0.0]), np.append(outcomes, [0.0, 1.0])
    refits = np.concatenate(
        [
            _newton(counts, lengths, won, np.repeat(start, len(counts), axis=0))[:, 0]
            for _, counts in resampled_counts(len(outcomes), 2, resamples, seed)
        ]
    )
    low, high = outer_quantiles(_sigmoid(refits), confidence)
    half = half_a_step(len(outcomes), ties)
    return LengthControlled(float(_sigmoid(quality)), float(slope), (max(0.0, low - half), min(1.0, high + half)))


def standardized(differences: Floats) -> Floats:
    """The model's x, [units]."""
    deviation = differences.std()
    return np.tanh(differences / deviation) if deviation > 0 else np.zeros_like(differences)


def _newton(weights: Floats, lengths: Floats, won: Floats, start: Floats) -> Floats:
    """Quality and slope that maximize the penalized likelihood under each row of weights.

    Args:
        weights: [fits, units].
        lengths: [units].
        won: [units].
        start: [fits, 2].

    Returns:
        [fits, 2].
    """
    found = start.copy()
    squares = lengths**2
    for _ in range(_STEPS):
        expected = _sigmoid(found[:, :1] + found[:, 1:] * lengths)
        left = weights * (won - expected)
        spread = weights * expected * (1 - expected)
        gradient = np.stack([left.sum(axis=1), left @ lengths - _RIDGE * found[:, 1]], axis=1)
        along, across, slopes = spread.sum(axis=1) + 1e-12, spread @ lengths, spread @ squares + _RIDGE
        determinant = along * slopes - across**2
        step = np.stack(
            [slopes * gradient[:, 0] - across * gradient[:, 1], along * gradient[:, 1] - across * gradient[:, 0]],
            axis=1,
        )
        step = np.clip(step / determinant[:, None], -_LARGEST_STEP, _LARGEST_STEP)
        before, found = found, np.clip(found + step, -_LARGEST, _LARGEST)
        if np.abs(found - before).max() < _CLOSE:
            break
    return found


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)))
