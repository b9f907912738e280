"""What is reported: TRL's names and meanings, over the responses or tokens of all processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from .experience import Experience, Responses
from .losses import ClippedLoss

Share = tuple[Tensor, Tensor]
"""This process's sum, and the number of items in it."""


def means(shares: Mapping[str, Share], sum_over_processes: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """The mean of each metric over the items of all processes; 0 if there are none.

    Args:
        shares: the same names in the same order on every process.
        sum_over_processes: adds up a tensor over all processes.
    """
    local = torch.stack([torch.stack([total.float(), count.float()]) for total, count in shares.values()])
    sums = sum_over_processes(local.detach())
    values = (sums[:, 0] / sums[:, 1].clamp(min=1)).tolist()
    return dict(zip(shares, values, strict=True))


def of_rewards(by_function: Tensor, scores: Tensor, names: Sequence[str]) -> dict[str, float]:
    """What TRL's online trainers report of rewards.

    Args:
        by_function: rewards of all processes, NaN where a function gives none, [responses, functions].
        scores: their weighted sums, [responses].
        names: of the functions.
    """
    reported = {"reward": scores.nanmean().item(), "reward_std": _deviation(scores)}
    for name, rewards in zip(names, by_function.T, strict=True):
        reported |= {f"rewards/{name}/mean": rewards.nanmean().item(), f"rewards/{name}/std": _deviation(rewards)}
    return reported


def of_experience(responses: Responses, experience: Experience) -> dict[str, Share]:
    """What TRL's PPOTrainer reported of a batch of responses; without a reference there is no KL."""
    scored = ~responses.scores.isnan()
    penalties = experience.penalties.sum(dim=1)
    shares = {
        "objective/scores": experience.scores,
        "objective/entropy": -(responses.log_probs * experience.mask).sum(dim=1),
        "objective/non_score_reward": penalties,
        "objective/rlhf_reward": experience.scores + penalties,
    }
    if responses.reference_log_probs is not None:
        shares["objective/kl"] = experience.kl.sum(dim=1)
    return {name: ((values * scored).sum(), scored.sum()) for name, values in shares.items()}


def of_losses(
    policy: ClippedLoss, value: ClippedLoss, log_ratio: Tensor, entropy: Tensor, mask: Tensor, tokens: Tensor
) -> dict[str, Share]:
    """What TRL's PPOTrainer reported of a forward pass.

    Args:
        policy: losses of the policy.
        value: losses of the values.
        log_ratio: log-probabilities less those at the time of sampling, [batch, tokens].
        entropy: of the policy, [batch, tokens].
        mask: 1 for valid tokens, else 0, [batch, tokens].
        tokens: valid tokens that a forward pass has on average. It stands in for their number in this one, so that the
            mean over an optimizer step's passes is the mean over its tokens.
    """
    values = {
        "loss/policy_avg": policy.losses,
        "loss/value_avg": value.losses,
        "policy/approxkl_avg": 0.5 * log_ratio.square(),
        "policy/clipfrac_avg": policy.clipped,
        "val/clipfrac_avg": value.clipped,
        "val/ratio": log_ratio.exp(),
        "entropy": entropy,
    }
    return {name: ((each * mask).sum(), tokens) for name, each in values.items()}


def _deviation(values: Tensor) -> float:
    """Standard deviation of those of ``values`` that are not NaN; 0 for fewer than two."""
    present = values[~values.isnan()]
    return present.std().item() if present.numel() > 1 else 0.0
