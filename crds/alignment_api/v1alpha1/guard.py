"""When a training that goes wrong is stopped."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import ApiModel

Threshold = Annotated[float, Field(gt=0, le=1_000_000)]


class Guard(ApiModel):
    """Stops a stage whose numbers say that it is being ruined; the last good checkpoint is kept.

    A threshold that is unset takes the method's default. A loss, or weights, that are not finite stop the stage at
    once. No checkpoint is written while a number is beyond its threshold.
    """

    enabled: bool = Field(default=True, description="Whether the guard is on.")
    start_check: bool = Field(
        default=True,
        description="Stop at the first step if the loss, KL or implicit reward is not where theory puts it.",
    )
    patience: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Reports in a row beyond a threshold before the stage is stopped."
    )
    max_kl: Threshold | None = Field(
        default=None,
        description="Largest KL to the reference, in nats: of a token for GRPO and RLOO, a response for KTO and PPO.",
    )
    max_reward_margin: Threshold | None = Field(
        default=None, description="Largest margin between chosen and rejected (preference methods)."
    )
    max_length_growth: Threshold | None = Field(
        default=None, description="Largest mean response length, as a multiple of that of the first reports."
    )
    max_repetition: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Largest share of repeated 4-grams in responses."
    )
    min_reward_std: Annotated[float, Field(ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="Smallest standard deviation of rewards (online methods). Below it nothing is learnt, which stops "
        "the stage after ten times `patience` reports.",
    )
