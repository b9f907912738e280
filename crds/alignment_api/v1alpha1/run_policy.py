"""Limits on a whole job: time, retries and parallel stages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import INT32_MAX, ApiModel


class Retries(ApiModel):
    """How often a gang is started again, by cause, over the whole job.

    Restarts after preemption and eviction are free. Data and configuration errors never retry.
    """

    infrastructure: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=5, description="Restarts after a killed process, a lost Pod or node, or broken communication."
    )


class RunPolicy(ApiModel):
    """Limits on the whole job."""

    active_deadline_seconds: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None,
        description="The job fails when it has been active this long, counted from its start; suspension counts.",
    )
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=INT32_MAX)] = Field(
        default=1800, description="A gang that reports no progress for this long is stalled and is started again."
    )
    max_parallel_stages: Annotated[int, Field(ge=1, le=32)] = Field(
        default=1, description="Stages whose gangs may run at the same time. Two half-scheduled gangs deadlock."
    )
    retries: Retries = Field(default_factory=Retries, description="Budgets for restarts, by cause.")
