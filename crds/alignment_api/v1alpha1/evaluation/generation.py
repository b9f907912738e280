"""How the models under evaluation answer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ..base import INT32_MAX, ApiModel


class Engine(StrEnum):
    """What generates responses."""

    AUTO = "auto"
    TRANSFORMERS = "transformers"
    VLLM = "vllm"


class Generation(ApiModel):
    """How responses are generated."""

    max_new_tokens: Annotated[int, Field(ge=1, le=65536)] = Field(
        default=256, description="Longest response in tokens."
    )
    temperature: Annotated[float, Field(ge=0, le=5)] = Field(
        default=0.0, description="Sampling temperature; 0 is greedy decoding."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(default=1.0, description="Nucleus sampling mass.")
    batch_size: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=16, description="Prompts generated together by one process."
    )
    seed: Annotated[int, Field(ge=0, le=INT32_MAX)] = Field(default=42, description="Seed of sampling.")
    engine: Engine = Field(
        default=Engine.AUTO,
        description="`auto`: vLLM on GPUs where the trainer image has it, else transformers' `generate`.",
    )
