"""Odds-ratio preference optimization."""

from __future__ import annotations

from pydantic import Field

from ..base import ApiModel
from .common import Beta, MaxLength


class Orpo(ApiModel):
    """SFT and preference optimization in one, without a reference model (Hong et al., 2024, arXiv:2403.07691)."""

    beta: Beta = Field(
        default=0.1, description="Weight of the odds-ratio term beside the SFT term (lambda in the paper)."
    )
    max_length: MaxLength = Field(
        default=1024, description="Longest prompt and response together, in tokens; longer ones are cut."
    )
