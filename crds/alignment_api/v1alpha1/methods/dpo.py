"""Direct preference optimization."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from ..base import ApiModel, CelRule
from ..model import ModelSource
from .common import Beta, MaxLength, ReferenceSync, Truncation, Weight


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
    weight: Weight = Field(default=1.0, description="Weight in the sum of the terms.")


class FDivergenceType(StrEnum):
    """Divergences from the reference (f-DPO: Wang et al., 2023, arXiv:2309.16240)."""

    REVERSE_KL = "reverseKl"
    FORWARD_KL = "forwardKl"
    JS_DIVERGENCE = "jsDivergence"
    ALPHA_DIVERGENCE = "alphaDivergence"


class FDivergence(ApiModel):
    """How distance from the reference is measured."""

    type: FDivergenceType = Field(default=FDivergenceType.REVERSE_KL, description="The divergence.")
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="Alpha of `alphaDivergence`: towards 1 it is `reverseKl`, towards 0 `forwardKl`."
    )


class Dpo(ApiModel):
    """Direct preference optimization (Rafailov et al., 2023, arXiv:2305.18290).

    The reference model is the model the stage starts from, unless `reference` names another; with an adapter it is the
    base under the adapter, and no second copy is held.
    """

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.syncReference) || !self.precomputeReference",
            "syncReference changes the reference, so its log-probabilities cannot be computed before: remove "
            "syncReference or set precomputeReference to false",
        ),
    )

    beta: Beta = Field(default=0.1, description="How strongly the policy is kept near the reference; larger is nearer.")
    loss: Annotated[list[DpoLoss], Field(min_length=1, max_length=8)] = Field(
        default_factory=lambda: [DpoLoss()], description="Weighted sum of losses."
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.0, description="Assumed probability that a preference label is wrong."
    )
    divergence: FDivergence = Field(
        default_factory=FDivergence, description="How distance from the reference is measured."
    )
    length_desensitization: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Weight of the tokens by which the longer response exceeds the shorter one (alpha of LD-DPO, "
        "arXiv:2409.06411); 1 is plain DPO. Unset: plain DPO.",
    )
    max_length: MaxLength = Field(
        default=1024, description="Longest prompt and response together, in tokens; longer ones are cut."
    )
    truncation: Truncation = Field(default=Truncation.KEEP_START, description="Which end of a longer row is kept.")
    reference: ModelSource | None = Field(
        default=None,
        description="Reference model. Unset: the model the stage starts from.",
    )
    precompute_reference: bool = Field(
        default=False,
        description="Compute the reference log-probabilities once before training instead of holding the reference.",
    )
    sync_reference: ReferenceSync | None = Field(
        default=None, description="Let the reference follow the policy. Unset: it stays as it is."
    )
