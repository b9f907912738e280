"""Contrastive preference optimization, and SimPO, which is a loss of the same trainer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from ..base import ApiModel, CelRule
from .common import Beta, MaxLength


class CpoLoss(StrEnum):
    """Preference terms of TRL's CPOTrainer."""

    SIGMOID = "sigmoid"
    HINGE = "hinge"
    IPO = "ipo"


class Cpo(ApiModel):
    """Contrastive preference optimization, without a reference model (Xu et al., 2024, arXiv:2401.08417)."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.labelSmoothing == 0.0 || self.loss == 'sigmoid'",
            "labelSmoothing has an effect on the loss sigmoid only: remove it or set loss to sigmoid",
        ),
    )

    beta: Beta = Field(default=0.1, description="Scale of the difference between chosen and rejected.")
    loss: CpoLoss = Field(default=CpoLoss.SIGMOID, description="The preference term.")
    sft_weight: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=1.0, description="Weight of the negative log-likelihood of the chosen response."
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.0, description="Assumed probability that a preference label is wrong."
    )
    max_length: MaxLength = Field(
        default=1024, description="Longest prompt and response together, in tokens; longer ones are cut."
    )


class SimPo(ApiModel):
    """Simple preference optimization, without a reference model (Meng et al., 2024, arXiv:2405.14734)."""

    beta: Beta = Field(default=2.0, description="Scale of the length-normalized log-probabilities.")
    gamma: Annotated[float, Field(ge=0, le=100)] = Field(
        default=1.0, description="Margin that chosen must win by; half of beta is a good start."
    )
    sft_weight: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=0.0, description="Weight of the negative log-likelihood of the chosen response; 0 is the paper's SimPO."
    )
    max_length: MaxLength = Field(
        default=1024, description="Longest prompt and response together, in tokens; longer ones are cut."
    )
