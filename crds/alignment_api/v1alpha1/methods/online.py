"""What methods share that learn from their own responses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..base import ApiModel, CelRule
from .rewards import Rewards

REFERENCE_OF_A_PENALTY = CelRule(
    "!has(self.syncReference) || self.beta > 0.0",
    "syncReference moves the reference of the KL penalty: set beta above 0, or remove it",
)


class OnlineMethod(ApiModel):
    """Generation and rewards."""

    rewards: Rewards = Field(description="What is optimized: the weighted sum of these.")
    max_completion_length: Annotated[int, Field(ge=1, le=2**20)] = Field(
        default=256, description="Longest response in tokens."
    )
    temperature: Annotated[float, Field(gt=0, le=5)] = Field(default=1.0, description="Sampling temperature.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(default=1.0, description="Nucleus sampling mass.")
