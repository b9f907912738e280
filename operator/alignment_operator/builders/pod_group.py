"""The PodGroup of a stage's gang, for schedulers that place all of its Pods or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec

from .gang import Gang
from .metadata import object_metadata, pod_group_name, stage_labels

_VOLCANO: Final = "volcano"
_COSCHEDULING_LABEL: Final = "scheduling.x-k8s.io/pod-group"
_VOLCANO_ANNOTATION: Final = "scheduling.k8s.io/group-name"


@dataclass(frozen=True)
class Membership:
    """What makes a Pod a member of its PodGroup: labels, annotations and further fields of the Pod."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    pod: dict[str, Any] = field(default_factory=dict)


def build_pod_group(job: JobReference, spec: AlignmentJobSpec, gang: Gang) -> dict[str, Any]:
    """The PodGroup of all attempts at a stage, of which one at a time has Pods; its size is that of the newest.

    Raises:
        ValueError: the job asks for none.
    """
    wanted = spec.scheduling.pod_group
    group: dict[str, Any] = {"minMember": gang.shape.nodes}
    if wanted is not None and wanted.volcano is not None:
        version = "scheduling.volcano.sh/v1beta1"
        if wanted.volcano.queue is not None:
            group["queue"] = wanted.volcano.queue
    elif wanted is not None and wanted.coscheduling is not None:
        version = "scheduling.x-k8s.io/v1alpha1"
        if wanted.coscheduling.schedule_timeout_seconds is not None:
            group["scheduleTimeoutSeconds"] = wanted.coscheduling.schedule_timeout_seconds
    else:
        raise ValueError("scheduling.podGroup is not set")
    return {
        "apiVersion": version,
        "kind": "PodGroup",
        "metadata": object_metadata(job, pod_group_name(job, gang.stage), stage_labels(job, gang.stage)),
        "spec": group,
    }


def pod_group_membership(job: JobReference, spec: AlignmentJobSpec, gang: Gang) -> Membership:
    """How the Pods of a gang say which PodGroup they belong to; nothing without one."""
    wanted = spec.scheduling.pod_group
    if wanted is None:
        return Membership()
    name = pod_group_name(job, gang.stage)
    if wanted.volcano is not None:
        chosen = spec.runtime_of(spec.stage(gang.stage)).pod_template.scheduler_name
        return Membership(annotations={_VOLCANO_ANNOTATION: name}, pod={"schedulerName": chosen or _VOLCANO})
    return Membership(labels={_COSCHEDULING_LABEL: name})
