"""How a gang gets its nodes: queues, gang schedulers, and how long half a gang may hold what it has."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from .base import ApiModel, DnsLabel, ObjectName


class CoschedulingPodGroup(ApiModel):
    """A PodGroup of the scheduler plugins (`scheduling.x-k8s.io/v1alpha1`)."""

    schedule_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] | None = Field(
        default=None, description="How long the scheduler holds some Pods' places for the others. Unset: its default."
    )


class VolcanoPodGroup(ApiModel):
    """A PodGroup of Volcano (`scheduling.volcano.sh/v1beta1`); sets `schedulerName` to volcano unless it is given."""

    queue: ObjectName | None = Field(default=None, description="Volcano queue. Unset: the default queue.")


class PodGroup(ApiModel):
    """The gang as a PodGroup, for schedulers that place all of its Pods or none."""

    one_of: ClassVar[tuple[str, ...]] = ("coscheduling", "volcano")

    coscheduling: CoschedulingPodGroup | None = Field(default=None, description="Of the scheduler plugins.")
    volcano: VolcanoPodGroup | None = Field(default=None, description="Of Volcano.")


class Scheduling(ApiModel):
    """How gangs get their nodes."""

    queue_name: DnsLabel | None = Field(
        default=None,
        description="Kueue LocalQueue in the job's namespace; each gang waits there until it is admitted as a whole.",
    )
    workload_priority_class: ObjectName | None = Field(
        default=None, description="Kueue WorkloadPriorityClass; it orders the queue without touching Pod priorities."
    )
    placement_deadline_seconds: Annotated[int, Field(ge=10, le=86400)] = Field(
        default=600,
        description="How long some Pods of a gang may hold nodes while others find none; then all are released and, "
        "after a pause, the gang is tried again (on fewer nodes, if `runtime.minNodes` allows that).",
    )
    pod_group: PodGroup | None = Field(
        default=None, description="Make a PodGroup for each gang, for a scheduler that places it whole."
    )
