"""Rewards and values -> advantages and returns, by generalized advantage estimation. Pure."""

from __future__ import annotations

import torch
from torch import Tensor


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, discount: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation (Schulman et al., 2016, arXiv:1506.02438, equation 16).

    With ``delta_t = r_t + discount * V(s_t+1) - V(s_t)``, the advantage is
    ``sum over l of (discount * gae_lambda)^l * delta_t+l``. A response ends its episode, also one that was cut off:
    what follows the last token has the value 0.

    Args:
        rewards: reward of each token, [batch, tokens].
        values: value of the state before each token, [batch, tokens].
        mask: 1 for a response's tokens, then 0 for the padding after them, [batch, tokens].
        discount: gamma.
        gae_lambda: lambda; 1 is the Monte Carlo return minus the value, 0 the one-step temporal difference.

    Returns:
        Advantages and returns (advantages + values), [batch, tokens] each, 0 on padding.
    """
    valid = mask.to(values.dtype)
    rewards, values = rewards * valid, values * valid
    advantages = torch.zeros_like(values)
    following_value = following_advantage = values.new_zeros(values.size(0))
    for t in reversed(range(values.size(1))):
        delta = rewards[:, t] + discount * following_value - values[:, t]
        following_advantage = delta + discount * gae_lambda * following_advantage
        following_value = values[:, t]
        advantages[:, t] = following_advantage
    return advantages, advantages + values
