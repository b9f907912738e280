"""Direct preference optimization."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ..base import ApiModel


class DpoLossType(StrEnum):
    """Losses of TRL's DPOTrainer, by TRL's names."""

    SIGMOID = "sigmoid"
    HINGE = "hinge"
    IPO = "ipo"
    EXO_PAIR = "exo_pair"
    NCA_PAIR = "nca_pair"
    ROBUST = "robust"
    BCO_PAIR = "bco_pair"
    SPPO_HARD = "sppo_hard"
    AOT = "aot"
    AOT_UNPAIRED = "aot_unpaired"
    APO_ZERO = "apo_zero"
    APO_DOWN = "apo_down"
    DISCOPOP = "discopop"
    SFT = "sft"
    SIGMOID_NORM = "sigmoid_norm"


class DpoLoss(ApiModel):
    """One term of the DPO loss."""

    type: DpoLossType = Field(default=DpoLossType.SIGMOID, description="The loss, by TRL's name.")
    weight: Annotated[float, Field(gt=0, le=1000)] = Field(default=1.0, description="Weight in the sum of the terms.")


class Dpo(ApiModel):
    """Direct preference optimization (Rafailov et al., 2023, arXiv:2305.18290).

    The reference model is the model the stage starts from; with an adapter it is the base under the adapter, and no
    second copy is held.
    """

    beta: Annotated[float, Field(gt=0, le=100)] = Field(
        default=0.1, description="How strongly the policy is kept near the reference; larger is nearer."
    )
    loss: Annotated[list[DpoLoss], Field(min_length=1, max_length=8)] = Field(
        default_factory=lambda: [DpoLoss()], description="Weighted sum of losses."
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.0, description="Assumed probability that a preference label is wrong."
    )
    max_length: Annotated[int, Field(ge=8, le=2**20)] = Field(
        default=1024, description="Longest prompt and response together, in tokens; longer ones are cut at the end."
    )
    precompute_reference: bool = Field(
        default=False,
        description="Compute the reference log-probabilities once before training instead of holding the reference.",
    )
