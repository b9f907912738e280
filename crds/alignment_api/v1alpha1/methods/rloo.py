"""REINFORCE leave-one-out."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ..base import CelRule
from .common import ReferenceSync
from .online import REFERENCE_OF_A_PENALTY, OnlineMethod


class Rloo(OnlineMethod):
    """REINFORCE with the other responses as baseline (Ahmadian et al., 2024, arXiv:2402.14740).

    `training.globalBatchSize` counts responses; it must be a multiple of `generations`.
    """

    cel_rules: ClassVar[tuple[CelRule, ...]] = (REFERENCE_OF_A_PENALTY,)

    generations: Annotated[int, Field(ge=2, le=1024)] = Field(default=4, description="Responses to each prompt.")
    beta: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.05, description="Weight of the KL penalty in the reward; above 0 a reference model is held."
    )
    sync_reference: ReferenceSync | None = Field(
        default=None,
        description="Let the reference follow the policy. Unset: it stays as it is.",
    )
    normalize_advantages: bool = Field(default=False, description="Divide advantages by their standard deviation.")
    iterations: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="Optimizer passes over each batch of responses."
    )
    epsilon: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.2, description="Clipping of the probability ratio.")
    mask_truncated: bool = Field(
        default=False, description="Leave responses cut off at maxCompletionLength out of the loss."
    )
