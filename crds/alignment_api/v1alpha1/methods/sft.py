"""Supervised fine-tuning."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ..base import ApiModel
from .common import MaxLength, Truncation


class LossOn(StrEnum):
    """Which tokens of a conversation carry loss."""

    ALL = "all"
    COMPLETION = "completion"
    ASSISTANT = "assistant"


class Sft(ApiModel):
    """Supervised fine-tuning on demonstrations: cross-entropy on the next token."""

    max_length: MaxLength = Field(
        default=1024, description="Longest sequence in tokens; longer rows are cut as `truncation` says."
    )
    truncation: Truncation = Field(default=Truncation.KEEP_START, description="Which end of a longer row is kept.")
    packing: bool = Field(
        default=False,
        description="Put several rows into one sequence (best-fit decreasing), so that little of it is padding.",
    )
    loss_on: LossOn = Field(
        default=LossOn.COMPLETION,
        description="`completion`: the last assistant turn; `assistant`: every assistant turn (the chat template must "
        "mark generation); `all`: every token.",
    )
    neftune_noise_alpha: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        default=None, description="Noise on the embeddings (NEFTune, arXiv:2310.05914); 5 is usual. Unset: none."
    )
