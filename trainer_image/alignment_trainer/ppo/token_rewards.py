"""Score of a response and KL penalty of its tokens -> reward of each token. Pure."""

from __future__ import annotations

import torch
from torch import Tensor


def penalize_missing_eos(scores: Tensor, ended: Tensor, penalty: float | None) -> Tensor:
    """``scores`` of responses, less ``penalty`` for those that did not end by themselves.

    Args:
        scores: [batch].
        ended: whether the response's last token is an end-of-sequence token, [batch].
        penalty: positive, or None for none.
    """
    return scores if penalty is None else scores - penalty * (~ended).to(scores.dtype)


def kl_estimate(log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor) -> Tensor:
    """``log policy - log reference`` of each sampled token: an unbiased estimate of the KL (k1), 0 on padding.

    Args:
        log_probs: of the policy that sampled the tokens, [batch, tokens].
        reference_log_probs: of the reference, [batch, tokens].
        mask: 1 for a response's tokens, else 0, [batch, tokens].
    """
    return (log_probs - reference_log_probs) * mask


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, kl_coefficient: float) -> Tensor:
    """Reward of each token: ``-kl_coefficient * kl``, and the score on top at the last token.

    It is R of Ziegler et al. (2019, arXiv:1909.08593, equation 2), dealt out to the tokens.

    Args:
        scores: [batch].
        kl: estimate for each token, [batch, tokens].
        mask: 1 for a response's tokens, then 0, [batch, tokens]; a response has at least one token.
        kl_coefficient: beta.

    Returns:
        [batch, tokens], 0 on padding.
    """
    last = mask.sum(dim=1, keepdim=True).long() - 1
    return (-kl_coefficient * kl).scatter_add(1, last.clamp(min=0), scores.unsqueeze(1).to(kl.dtype)) * mask


def last_tokens(token_ids: Tensor, mask: Tensor) -> Tensor:
    """The last token of each response, [batch].

    Args:
        token_ids: [batch, tokens].
        mask: 1 for a response's tokens, then 0, [batch, tokens].
    """
    last = mask.sum(dim=1, keepdim=True).long() - 1
    return torch.gather(token_ids, 1, last.clamp(min=0)).squeeze(1)
