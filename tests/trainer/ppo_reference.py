"""PPO's formulas once more, in numpy and one token at a time, for its tests to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def lengths(mask: Array) -> list[int]:
    """Tokens of each response; those before its padding."""
    return [int(row.sum()) for row in mask]


def rewards(scores: Array, kl: Array, mask: Array, beta: float) -> Array:
    """r_t = -beta KL_t, and the score at the last token (Ziegler et al., 2019, equation 2)."""
    result = np.zeros_like(kl)
    for row, length in enumerate(lengths(mask)):
        for t in range(length):
            result[row, t] = -beta * kl[row, t] + (scores[row] if t == length - 1 else 0.0)
    return result


def advantages(rewards: Array, values: Array, mask: Array, gamma: float, lam: float) -> Array:
    """The sum of (gamma lambda)^l delta_t+l that defines GAE (Schulman et al., 2016, equation 16), written out."""
    result = np.zeros_like(values)
    for row, length in enumerate(lengths(mask)):
        deltas = [
            rewards[row, t] + gamma * (values[row, t + 1] if t + 1 < length else 0.0) - values[row, t]
            for t in range(length)
        ]
        for t in range(length):
            result[row, t] = sum((gamma * lam) ** step * delta for step, delta in enumerate(deltas[t:]))
    return result


def whiten(values: Array, mask: Array, *, shift_mean: bool) -> Array:
    """Unit variance over the valid entries."""
    valid = values[mask > 0]
    mean = valid.mean()
    scaled = (valid - mean) / np.sqrt(valid.var(ddof=1) + 1e-8)
    result = np.zeros_like(values)
    result[mask > 0] = scaled if shift_mean else scaled + mean
    return result


def policy_loss(log_ratio: float, advantage: float, low: float, high: float) -> float:
    """-L^CLIP of a token (Schulman et al., 2017, equation 7)."""
    ratio = float(np.exp(log_ratio))
    return -min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)


def value_loss(value: float, old_value: float, target: float, clip: float) -> float:
    """The larger of the squared errors of the value and of the value held near the old one, halved."""
    near = min(max(value, old_value - clip), old_value + clip)
    return 0.5 * max((value - target) ** 2, (near - target) ** 2)


def token_log_probs(logits: Any, ids: Any) -> Array:
    """Log-probability of ``ids`` [batch, tokens] under ``logits`` [batch, tokens, vocabulary]."""
    numbers = np.asarray(logits, dtype=np.float64)
    numbers = numbers - numbers.max(axis=-1, keepdims=True)
    normalized = numbers - np.log(np.exp(numbers).sum(axis=-1, keepdims=True))
    chosen: Array = np.take_along_axis(normalized, np.asarray(ids)[..., None], axis=-1)[..., 0]
    return chosen


@dataclass
class Control:
    """The controller of Ziegler et al. (2019), section 2.2, with K_beta = responses / horizon."""

    beta: float
    target: float
    horizon: int

    def update(self, kl: float, responses: int) -> float:
        """beta_t+1 = beta_t (1 + K_beta e_t)."""
        error = float(np.clip((kl - self.target) / self.target, -0.2, 0.2))
        self.beta = self.beta * (1 + responses / self.horizon * error)
        return self.beta
