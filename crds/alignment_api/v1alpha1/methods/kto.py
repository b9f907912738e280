"""Kahneman-Tversky optimization."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from ..base import ApiModel, CelRule
from ..model import ModelSource
from .common import Beta, MaxLength, Weight


class KtoLoss(StrEnum):
    """Losses of TRL's KTOTrainer."""

    KTO = "kto"
    APO_ZERO_UNPAIRED = "apo_zero_unpaired"


class Kto(ApiModel):
    """Kahneman-Tversky optimization on responses labelled good or bad (Ethayarajh et al., 2024, arXiv:2402.01306)."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.desirableWeight) == has(self.undesirableWeight)",
            "set desirableWeight and undesirableWeight both, or neither to have them balanced by the labels",
        ),
    )

    beta: Beta = Field(default=0.1, description="How strongly the policy is kept near the reference.")
    loss: KtoLoss = Field(default=KtoLoss.KTO, description="The loss, by TRL's name.")
    desirable_weight: Weight | None = Field(
        default=None,
        description="Weight of good responses. Unset, with `undesirableWeight`: chosen by the numbers of labels so "
        "that good and bad weigh the same, the more frequent kind weighing 1.",
    )
    undesirable_weight: Weight | None = Field(default=None, description="Weight of bad responses.")
    max_length: MaxLength = Field(
        default=1024, description="Longest prompt and response together, in tokens; longer ones are cut at the end."
    )
    reference: ModelSource | None = Field(
        default=None, description="Reference model. Unset: the model the stage starts from."
    )
    precompute_reference: bool = Field(
        default=False,
        description="Compute the reference log-probabilities once before training instead of holding the reference.",
    )
