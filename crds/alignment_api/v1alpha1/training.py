"""Optimization settings and adapters: what training stages share whatever their method."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from .base import INT32_MAX, ApiModel


class Schedule(StrEnum):
    """Learning-rate schedules, by the names of transformers."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"


class Checkpointing(ApiModel):
    """When training state is saved."""

    every_steps: Annotated[int, Field(ge=1, le=INT32_MAX)] = Field(
        default=100, description="Save a checkpoint each so many optimizer steps."
    )
    keep: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2,
        description="Complete checkpoints kept, over all attempts; older ones are removed once a new one is complete, "
        "so the workspace needs room for one more. When the stage's model is published, one stays.",
    )


class Training(ApiModel):
    """How a stage is optimized.

    ``globalBatchSize`` is what the optimizer sees; gradient accumulation is derived from it.
    """

    epochs: Annotated[float, Field(gt=0, le=1000)] = Field(default=1.0, description="Passes over the data.")
    max_steps: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None, description="Optimizer steps after which to stop; overrides `epochs`."
    )
    global_batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=64,
        description="Rows per optimizer step over all processes. Must be a multiple of microBatchSize x nodes x "
        "processesPerNode; the quotient is the number of gradient accumulation steps.",
    )
    micro_batch_size: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1, description="Rows per process and forward pass. Changes memory and speed, not the optimization."
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Peak learning rate. Unset: a good start for the method and adapter."
    )
    schedule: Schedule = Field(default=Schedule.COSINE, description="Learning-rate schedule.")
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="Fraction of the steps over which the learning rate rises from 0."
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(default=0.0, description="Decoupled weight decay.")
    max_grad_norm: Annotated[float, Field(gt=0, le=1_000_000)] = Field(
        default=1.0, description="Gradient clipping by global norm."
    )
    seed: Annotated[int, Field(ge=0, le=INT32_MAX)] = Field(
        default=42, description="Seed of initialization, dropout and data order."
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="Compute precision; `auto` is bf16 on GPUs that have it and fp32 on CPUs."
    )
    gradient_checkpointing: bool = Field(
        default=True, description="Recompute activations in the backward pass: less memory, about a third slower."
    )
    logging_steps: Annotated[int, Field(ge=1, le=INT32_MAX)] = Field(
        default=10, description="Optimizer steps between two reports of the loss and other metrics."
    )
    eval_steps: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None,
        description="Optimizer steps between two evaluations on the held-out rows. Unset: only after the last step.",
    )
    checkpoint: Checkpointing = Field(default_factory=Checkpointing, description="When training state is saved.")


class LoraAdapter(ApiModel):
    """Low-rank adaptation (Hu et al., 2021, arXiv:2106.09685)."""

    rank: Annotated[int, Field(ge=1, le=1024)] = Field(default=16, description="Rank r of the update.")
    alpha: Annotated[float, Field(gt=0, le=4096)] = Field(default=32, description="Scaling: the update is alpha/r B A.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.0, description="Dropout before A.")
    dora: bool = Field(
        default=False, description="Learn magnitude and direction apart (DoRA: Liu et al., 2024, arXiv:2402.09353)."
    )
    rank_stabilized: bool = Field(
        default=False, description="Scale by alpha/sqrt(r) instead of alpha/r (rsLoRA, arXiv:2312.03732)."
    )
    target_modules: Annotated[list[Annotated[str, Field(max_length=128)]], Field(max_length=32)] | None = Field(
        default=None, description="Names of the modules to adapt. Unset: all linear layers but the output head."
    )


class Quantization(ApiModel):
    """4-bit quantization of the frozen base weights (QLoRA: Dettmers et al., 2023, arXiv:2305.14314)."""

    type: Literal["nf4"] = Field(default="nf4", description="4-bit NormalFloat.")
    double_quantization: bool = Field(default=True, description="Quantize the quantization constants too.")


class Adapter(ApiModel):
    """Train a small adapter and leave the base weights frozen."""

    lora: LoraAdapter = Field(default_factory=LoraAdapter, description="Low-rank adaptation.")
    quantization: Quantization | None = Field(
        default=None, description="Hold the frozen base weights in 4 bits (QLoRA)."
    )
