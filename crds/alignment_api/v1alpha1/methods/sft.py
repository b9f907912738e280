"""Supervised fine-tuning."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ..base import ApiModel


class LossOn(StrEnum):
    """Which tokens of a conversation carry loss."""

    ALL = "all"
    COMPLETION = "completion"
    ASSISTANT = "assistant"


class Sft(ApiModel):
    """Supervised fine-tuning on demonstrations: cross-entropy on the next token."""

    max_length: Annotated[int, Field(ge=8, le=2**20)] = Field(
        default=1024, description="Longest sequence in tokens; longer rows are cut at the end."
    )
    packing: bool = Field(
        default=False,
        description="Put several rows into one sequence (best-fit decreasing), so that little of it is padding.",
    )
    loss_on: LossOn = Field(
        default=LossOn.COMPLETION,
        description="`completion`: the last assistant turn; `assistant`: every assistant turn (the chat template must "
        "mark generation); `all`: every token.",
    )
