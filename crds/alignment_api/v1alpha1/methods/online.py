"""What methods share that learn from their own responses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..base import ApiModel
from .rewards import Rewards


class OnlineMethod(ApiModel):
    """Generation and rewards."""

    rewards: Rewards = Field(description="What is optimized: the weighted sum of these.")
    max_completion_length: Annotated[int, Field(ge=1, le=2**20)] = Field(
        default=256, description="Longest response in tokens."
    )
    temperature: Annotated[float, Field(gt=0, le=5)] = Field(default=1.0, description="Sampling temperature.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(default=1.0, description="Nucleus sampling mass.")
