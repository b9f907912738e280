"""What a running gang says about itself: the body of ``GET /progress`` on rank 0."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, FiniteFloat

from ..v1alpha1.base import ApiModel

METRIC_NAME_LENGTH: Final = 160
"""Characters, which are printable ASCII: a name is a key of the status, and keys of YAML end at 1,024 with escapes."""

MetricName = Annotated[str, Field(max_length=METRIC_NAME_LENGTH, pattern=r"^[ -~]+$")]


def is_metric_name(name: str) -> bool:
    """Whether ``name`` is a MetricName."""
    return 0 < len(name) <= METRIC_NAME_LENGTH and name.isascii() and name.isprintable()


class TrainerPhase(StrEnum):
    """What the training process is doing."""

    LOADING = "Loading"
    TRAINING = "Training"
    CHECKPOINTING = "Checkpointing"
    EVALUATING = "Evaluating"
    EXPORTING = "Exporting"
    FINISHED = "Finished"


class CheckpointMark(ApiModel):
    """A complete checkpoint."""

    step: Annotated[int, Field(ge=0)]
    path: Annotated[str, Field(max_length=1024)] = Field(description="Folder, relative to the workspace.")
    time: datetime


class Progress(ApiModel):
    """How far the gang is. For evaluate stages a step is a prompt answered or judged."""

    stage: Annotated[str, Field(max_length=63)]
    attempt: Annotated[int, Field(ge=1)]
    phase: TrainerPhase
    step: Annotated[int, Field(ge=0)] = 0
    total_steps: Annotated[int, Field(ge=0)] = 0
    epoch: Annotated[float, Field(ge=0)] | None = None
    tokens: Annotated[int, Field(ge=0)] = Field(default=0, description="Tokens trained on, over all attempts.")
    tokens_per_second: Annotated[float, Field(ge=0)] | None = None
    eta_seconds: Annotated[int, Field(ge=0)] | None = None
    metrics: Annotated[dict[MetricName, FiniteFloat], Field(max_length=64)] = Field(
        default_factory=dict, description="Latest value of each metric, finite numbers only."
    )
    checkpoint: CheckpointMark | None = None
    report: Annotated[str, Field(max_length=128)] | None = Field(
        default=None, description="Digest of the job's report, while ``GET /report`` gives it."
    )
    updated_at: datetime = Field(description="When the training process wrote this.")
