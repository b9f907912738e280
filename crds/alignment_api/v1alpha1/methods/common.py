"""Fields that several methods share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ..base import INT32_MAX, ApiModel

MaxLength = Annotated[int, Field(ge=8, le=2**20)]
Beta = Annotated[float, Field(gt=0, le=100)]
Weight = Annotated[float, Field(gt=0, le=1000)]


class Truncation(StrEnum):
    """Which end of an over-long row is kept."""

    KEEP_START = "keepStart"
    KEEP_END = "keepEnd"


class ReferenceSync(ApiModel):
    """Let the reference follow the policy (TR-DPO: Gorbatovski et al., 2024, arXiv:2404.09656)."""

    every_steps: Annotated[int, Field(ge=1, le=INT32_MAX)] = Field(
        default=512, description="Optimizer steps between two updates of the reference."
    )
    mixup: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.6, description="Share of the policy in the updated reference; 1 replaces it."
    )
