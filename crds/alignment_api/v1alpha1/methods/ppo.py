"""Proximal policy optimization."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ..base import ApiModel, CelRule
from ..model import ModelSource
from .online import OnlineMethod

Fraction = Annotated[float, Field(ge=0, le=1)]


class AdaptiveKl(ApiModel):
    """Steers the KL weight so that the KL stays near a target (Ziegler et al., 2019, arXiv:1909.08593, section 2.2)."""

    target: Annotated[float, Field(gt=0, le=1000)] = Field(
        default=6.0, description="KL to the reference aimed at, in nats per response."
    )
    horizon: Annotated[int, Field(ge=1, le=2**31 - 1)] = Field(
        default=10000, description="Responses over which the weight adapts."
    )


class ValueModel(ApiModel):
    """Where values come from: a model of their own, or a head on the policy.

    If the stage trains an adapter, a model of their own gets one of the same kind under a head that is trained whole.
    """

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!self.sharedBackbone || !has(self.model)",
            "sharedBackbone puts the value head on the policy: remove model, or set sharedBackbone to false",
        ),
    )

    shared_backbone: bool = Field(
        default=False, description="Put the value head on the policy's backbone: less memory, coupled training."
    )
    model: ModelSource | None = Field(
        default=None, description="Model that values start from, such as the reward model. Unset: the policy's."
    )


class Ppo(OnlineMethod):
    """Proximal policy optimization (Schulman et al., 2017, arXiv:1707.06347) as in Ziegler et al., 2019.

    `training.globalBatchSize` counts responses of one optimizer step.
    """

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.adaptiveKl) || self.klCoefficient > 0.0",
            "a klCoefficient of 0 stays 0 however it is adapted: give it a value above 0, or remove adaptiveKl",
        ),
    )

    kl_coefficient: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.05,
        description="Weight of the per-token KL penalty in the reward; the initial one if it is adaptive. 0: no "
        "reference model is held.",
    )
    adaptive_kl: AdaptiveKl | None = Field(default=None, description="Adapt the weight. Unset: it is fixed.")
    discount: Fraction = Field(default=1.0, description="Discount of later rewards (gamma).")
    gae_lambda: Fraction = Field(
        default=0.95, description="Lambda of generalized advantage estimation (arXiv:1506.02438)."
    )
    clip_range: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="Clipping of the probability ratio."
    )
    value_clip_range: Annotated[float, Field(gt=0, le=100)] = Field(
        default=0.2, description="Clipping of the change of values."
    )
    value_coefficient: Annotated[float, Field(gt=0, le=100)] = Field(
        default=0.1, description="Weight of the value loss."
    )
    iterations: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="Optimizer passes over each batch of responses."
    )
    whiten_rewards: bool = Field(default=False, description="Scale the rewards of a batch to unit variance.")
    missing_eos_penalty: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        default=None, description="Taken off the score of a response that does not end by itself."
    )
    value: ValueModel = Field(default_factory=ValueModel, description="Where values come from.")
