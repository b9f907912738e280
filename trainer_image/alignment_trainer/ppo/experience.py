"""What a batch of responses teaches: scores, probabilities and values -> advantages, returns and KL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .advantages import generalized_advantages
from .token_rewards import kl_estimate, penalize_missing_eos, token_rewards
from .whitening import whiten


@dataclass(frozen=True)
class Responses:
    """A batch of sampled responses, with what the models said of them.

    Attributes:
        scores: weighted sum of the rewards, NaN where no function rewards a response, [batch].
        ended: whether a response ended by itself, [batch], bool.
        mask: 1 for a response's tokens, then 0, [batch, tokens].
        log_probs: of the policy, [batch, tokens].
        values: of the states before the tokens, [batch, tokens].
        reference_log_probs: of the reference; None if there is none, [batch, tokens].
    """

    scores: Tensor
    ended: Tensor
    mask: Tensor
    log_probs: Tensor
    values: Tensor
    reference_log_probs: Tensor | None


@dataclass(frozen=True)
class Experience:
    """What the losses need, and what is reported.

    Attributes:
        mask: the tokens that are learnt from: those of responses with a score, [batch, tokens].
        scores: with the penalty for a missing end, 0 where there is none, [batch].
        kl: estimate for each token, [batch, tokens].
        penalties: the KL's share of the rewards, [batch, tokens].
        advantages: mean 0 and variance 1 over the valid tokens of all processes, [batch, tokens].
        returns: what values should have been, [batch, tokens].
    """

    mask: Tensor
    scores: Tensor
    kl: Tensor
    penalties: Tensor
    advantages: Tensor
    returns: Tensor


def learn_from(
    responses: Responses, kl_coefficient: float, args: Any, sum_over_processes: Callable[[Tensor], Tensor]
) -> Experience:
    """Rewards, advantages and returns of a batch.

    Args:
        responses: this process's share of the batch.
        kl_coefficient: weight of the KL penalty.
        args: the PPOConfig.
        sum_over_processes: adds up a tensor over all processes.
    """
    scored = ~responses.scores.isnan()
    mask = responses.mask * scored.unsqueeze(1)
    scores = penalize_missing_eos(responses.scores, responses.ended, args.missing_eos_penalty)
    if args.reward_clip_range:
        scores = scores.clamp(*args.reward_clip_range)
    scores = torch.where(scored, scores, torch.zeros_like(scores))
    reference = responses.log_probs if responses.reference_log_probs is None else responses.reference_log_probs
    kl = kl_estimate(responses.log_probs, reference, mask)
    rewards = token_rewards(scores, kl, mask, kl_coefficient)
    if args.whiten_rewards:
        rewards = whiten(rewards, mask, sum_over_processes, shift_mean=False)
    advantages, returns = generalized_advantages(
        rewards, responses.values, mask, discount=args.gamma, gae_lambda=args.lam
    )
    return Experience(
        mask=mask,
        scores=scores,
        kl=kl,
        penalties=-kl_coefficient * kl,
        advantages=whiten(advantages, mask, sum_over_processes, shift_mean=True),
        returns=returns,
    )
