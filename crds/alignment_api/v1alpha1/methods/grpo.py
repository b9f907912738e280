"""Group-relative policy optimization."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from ..base import CelRule
from .common import ReferenceSync
from .online import REFERENCE_OF_A_PENALTY, OnlineMethod


class GrpoLoss(StrEnum):
    """Losses of TRL's GRPOTrainer, by TRL's names."""

    DAPO = "dapo"
    GRPO = "grpo"
    BNPO = "bnpo"
    DR_GRPO = "dr_grpo"
    CISPO = "cispo"
    SAPO = "sapo"
    LUSPO = "luspo"
    VESPO = "vespo"


class RewardScaling(StrEnum):
    """By which standard deviation advantages are divided."""

    GROUP = "group"
    BATCH = "batch"
    NONE = "none"


class Grpo(OnlineMethod):
    """Group-relative policy optimization (Shao et al., 2024, arXiv:2402.03300).

    `training.globalBatchSize` counts responses; it must be a multiple of `generations`.
    """

    cel_rules: ClassVar[tuple[CelRule, ...]] = (REFERENCE_OF_A_PENALTY,)

    generations: Annotated[int, Field(ge=2, le=1024)] = Field(
        default=8, description="Responses to each prompt; they are compared with each other."
    )
    beta: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.0, description="Weight of the KL penalty; above 0 a reference model is held."
    )
    sync_reference: ReferenceSync | None = Field(
        default=None,
        description="Let the reference follow the policy. Unset: it stays as it is.",
    )
    loss: GrpoLoss = Field(default=GrpoLoss.DAPO, description="The loss, by TRL's name.")
    scale_rewards: RewardScaling = Field(
        default=RewardScaling.GROUP, description="By which standard deviation advantages are divided."
    )
    iterations: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="Optimizer passes over each batch of responses."
    )
    epsilon: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.2, description="Clipping of the probability ratio.")
    epsilon_high: Annotated[float, Field(gt=0, le=100)] | None = Field(
        default=None,
        description="Upper clipping, if it differs (DAPO: 0.28). Unset: `epsilon`, or 5 for cispo, which has no other.",
    )
    mask_truncated: bool = Field(
        default=False, description="Leave responses cut off at maxCompletionLength out of the loss."
    )
