"""Limits on a whole job: time, retries, parallel stages, and what stays when it has ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import INT32_MAX, ApiModel

Budget = Annotated[int, Field(ge=0, le=1000)]
Seconds = Annotated[int, Field(ge=10, le=INT32_MAX)]


class Backoff(ApiModel):
    """Pauses between attempts: none before the first restart; from the second on each is twice the one before."""

    initial_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=5, description="Pause before the second restart of a stage."
    )
    max_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(default=300, description="Longest pause.")


class Retries(ApiModel):
    """How often a gang is started again, by the class of its failure, over the whole job.

    Restarts after preemption, eviction, a drained node and a gang that could not be placed whole are free. Data,
    configuration and function errors, a damaged checkpoint and a stop by the guard never retry.
    """

    infrastructure: Budget = Field(
        default=5,
        description="Restarts after a lost Pod or node, a killed process, a Pod that a node rejected, or a service "
        "that did not answer.",
    )
    device: Budget = Field(default=3, description="Restarts after an error of a GPU (Xid, ECC, lost device).")
    communication: Budget = Field(
        default=5, description="Restarts after NCCL or gloo errors and timeouts that no lost Pod explains."
    )
    stalled: Budget = Field(default=3, description="Restarts after a progress deadline passed.")
    storage: Budget = Field(default=3, description="Restarts after the workspace was full, read-only or unreachable.")
    out_of_memory: Budget = Field(
        default=2,
        description="Restarts after memory ran out. Each halves microBatchSize; globalBatchSize stays.",
    )
    trainer_error: Budget = Field(
        default=0, description="Restarts after an exception that nobody foresaw: usually it would come again."
    )
    backoff: Backoff = Field(default_factory=Backoff, description="Pauses between attempts.")


class ProgressDeadlines(ApiModel):
    """How long a gang may stay silent in each of its phases. Unset, but for Prepare: `progressDeadlineSeconds`."""

    preparing_seconds: Seconds | None = Field(
        default=None,
        description="The whole of one attempt at Prepare or at the promotion: downloads, large data and uploads take "
        "their time. Unset: any time.",
    )
    loading_seconds: Seconds | None = Field(
        default=None, description="From the start of the Pods to the first step: models, data, rendezvous, resume."
    )
    first_step_seconds: Seconds | None = Field(
        default=None, description="The first step of an attempt, which compiles kernels and fills caches."
    )
    step_seconds: Seconds | None = Field(default=None, description="Every later step.")
    saving_seconds: Seconds | None = Field(default=None, description="Writing a checkpoint or exporting the model.")
    evaluating_seconds: Seconds | None = Field(
        default=None, description="An evaluation on held-out rows, or one batch of an evaluate stage."
    )


class RunPolicy(ApiModel):
    """Limits on the whole job."""

    active_deadline_seconds: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None,
        description="The job fails when it has been active this long, counted from its start; suspension counts.",
    )
    progress_deadline_seconds: Seconds = Field(
        default=1800, description="A gang that reports no progress for this long is stalled and is started again."
    )
    progress_deadlines: ProgressDeadlines = Field(
        default_factory=ProgressDeadlines, description="The same by phase, for those that differ."
    )
    max_parallel_stages: Annotated[int, Field(ge=1, le=32)] = Field(
        default=1, description="Stages whose gangs may run at the same time. Two half-scheduled gangs deadlock."
    )
    retries: Retries = Field(default_factory=Retries, description="Budgets for restarts, by class of failure.")
    avoid_node_after_failures: Annotated[int, Field(ge=0, le=100)] = Field(
        default=2,
        description="Later attempts avoid a node that was lost, rejected a Pod or showed device errors this often in "
        "this job. 0: never.",
    )
    clean_pod_policy: Literal["Running", "All"] = Field(
        default="Running",
        description="What goes when the job has ended: Pods that still run, or all Jobs and Pods. Logs go with Pods.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=INT32_MAX)] | None = Field(
        default=None,
        description="Remove the job's Pods, Jobs, Services and ConfigMaps this long after its end, and then what "
        "`ttlPolicy` says. What is in the workspace stays. Unset: never.",
    )
    ttl_policy: Literal["Delete", "KeepRecord"] | None = Field(
        default=None,
        description="Whether the AlignmentJob itself goes too. Unset: KeepRecord where Argo CD or Flux manage it, "
        "which would create it anew and run it again; else Delete.",
    )
