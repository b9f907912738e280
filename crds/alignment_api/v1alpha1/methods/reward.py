"""Reward modelling."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..base import ApiModel
from .common import MaxLength


class RewardModelling(ApiModel):
    """A scalar reward model trained on preference pairs with the Bradley-Terry loss.

    Source: Ouyang et al., 2022 (arXiv:2203.02155), equation 1; with a `margin` column, Touvron et al., 2023
    (arXiv:2307.09288), equation 2.
    """

    max_length: MaxLength = Field(
        default=1024, description="Longest prompt and response together, in tokens; longer pairs are left out."
    )
    center_rewards_coefficient: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Weight of a term that keeps the mean reward near zero (arXiv:2312.09244); 0.01 is usual.",
    )
