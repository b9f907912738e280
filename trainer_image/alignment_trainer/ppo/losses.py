"""The clipped losses of policy and values, token by token (Schulman et al., 2017, arXiv:1707.06347). Pure."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ClippedLoss(NamedTuple):
    """Losses of tokens.

    Attributes:
        losses: [batch, tokens].
        clipped: where clipping decided the loss, [batch, tokens], bool.
    """

    losses: Tensor
    clipped: Tensor


def policy_losses(log_ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> ClippedLoss:
    """``-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)`` with ``r = exp(log_ratio)`` (equation 7).

    Args:
        log_ratio: log-probability under the policy, less that under the policy which sampled, [batch, tokens].
        advantages: [batch, tokens].
        clip_low: how far the ratio may fall below 1.
        clip_high: how far it may rise above 1.
    """
    ratio = torch.exp(log_ratio)
    free = -advantages * ratio
    bounded = -advantages * ratio.clamp(1 - clip_low, 1 + clip_high)
    return ClippedLoss(torch.maximum(free, bounded), bounded > free)


def value_losses(values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float) -> ClippedLoss:
    """``0.5 max((V - R)^2, (clip(V, V_old - clip_range, V_old + clip_range) - R)^2)``.

    The clipping of values is that of Schulman et al.'s code (github.com/openai/baselines, ppo2).

    Args:
        values: [batch, tokens].
        old_values: those at the time of sampling, [batch, tokens].
        returns: what they should be, [batch, tokens].
        clip_range: how far a value may move from the old one.
    """
    free = (values - returns).square()
    near = torch.clamp(values, old_values - clip_range, old_values + clip_range)
    bounded = (near - returns).square()
    return ClippedLoss(0.5 * torch.maximum(free, bounded), bounded > free)
