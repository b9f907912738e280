"""Scaling to unit variance over the valid tokens of a batch that lies on several processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

_EPSILON: Final = 1e-8
"""Added to the variance, as by Ziegler et al.'s code (github.com/openai/lm-human-preferences)."""


def whiten(values: Tensor, mask: Tensor, sum_over_processes: Callable[[Tensor], Tensor], *, shift_mean: bool) -> Tensor:
    """``values`` with unit variance, and with mean 0 if ``shift_mean``, over the batch's valid tokens.

    The mean and the unbiased variance are those of all processes, so that the result does not depend on how the batch
    is dealt out to them. A batch of one token has no variance and is only shifted.

    Args:
        values: [batch, tokens].
        mask: 1 for valid tokens, else 0, [batch, tokens].
        sum_over_processes: adds up a tensor over all processes.
        shift_mean: whether to move the mean to 0; otherwise it stays.

    Returns:
        [batch, tokens], 0 where the mask is.
    """
    valid = mask.to(values.dtype)
    total, count = sum_over_processes(torch.stack([(values * valid).sum(), valid.sum()]))
    mean = total / count.clamp(min=1)
    centered = (values - mean) * valid
    variance = sum_over_processes(centered.square().sum()) / (count - 1).clamp(min=1)
    scale = torch.where(count > 1, torch.rsqrt(variance + _EPSILON), torch.ones_like(variance))
    whitened = centered * scale
    return whitened if shift_mean else whitened + mean * valid
