"""The Indexed Job that is the gang of one attempt at a stage."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import (
    GANG_GRACE_SECONDS,
    NODE_NAME_VARIABLE,
    POD_NAME_VARIABLE,
    AttemptShape,
    JobReference,
    shape_of,
    with_shape,
)
from alignment_api.v1alpha1 import AlignmentJobSpec, Runtime, uses
from alignment_api.v1alpha1.scheduling import Scheduling

from ..planning.observed import Settings
from .affinity import avoiding
from .gang import Gang
from .inputs import config_map_volumes, secret_variables
from .metadata import gang_labels, gang_name, gang_selector, object_metadata, rendezvous_host, rendezvous_service_name
from .pod import HTTP_PORT, PodParts, build_pod_template, report_environment
from .pod_group import pod_group_membership

_OWN_NAMES: Final = ((POD_NAME_VARIABLE, "metadata.name"), (NODE_NAME_VARIABLE, "spec.nodeName"))
"""What a Pod that fails notes of itself among the evidence."""

_QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
_PRIORITY_LABEL: Final = "kueue.x-k8s.io/priority-class"

_READINESS_PROBE: Final = {
    "httpGet": {"path": "/healthz", "port": "http"},
    "initialDelaySeconds": 5,  # until the supervisor listens; a probe that fails before would be a warning event
    "periodSeconds": 10,
    "timeoutSeconds": 5,
    "failureThreshold": 3,
}


def build_gang_job(job: JobReference, spec: AlignmentJobSpec, gang: Gang, settings: Settings) -> dict[str, Any]:
    """The gang: ``shape.nodes`` Pods that live and die together.

    ``backoffLimit: 0`` makes the Job controller end the whole gang when one Pod fails. Pods that are only being
    deleted count as failed too (``podReplacementPolicy: TerminatingOrFailed``): a Pod on a dead node never reaches a
    terminal phase, and its peers must not wait for that. For the same reason there is no ``podFailurePolicy``, which
    would imply the policy ``Failed``.

    With a queue the Job is born suspended: Kueue starts it when there is room for the whole gang.
    """
    shaped = with_shape(spec, gang.stage, gang.shape)
    stage = shaped.stage(gang.stage)
    runtime = shaped.runtime_of(stage)
    membership = pod_group_membership(job, spec, gang)
    labels = gang_labels(job, gang.stage, gang.attempt)
    scheduling = spec.scheduling
    parts = PodParts(
        labels=labels | membership.labels,
        annotations=membership.annotations,
        arguments=_arguments(job, gang, shape_of(spec, gang.stage)),
        template=runtime.pod_template,
        image=runtime.image or settings.trainer_image,
        resources=runtime.resources,
        environment=[
            *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}} for name, field in _OWN_NAMES),
            *report_environment(settings),
            *secret_variables(uses.service_secrets(stage)),
        ],
        volumes=[*_shared_memory(runtime), *config_map_volumes(uses.code_config_maps(stage))],
        container={
            "ports": [HTTP_PORT],
            "readinessProbe": _READINESS_PROBE,
        },
        pod=membership.pod | _gang_placement(job, gang, runtime),
        ipc_lock=runtime.communication.ipc_lock,
        grace_seconds=GANG_GRACE_SECONDS,
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": object_metadata(job, gang_name(job, gang.stage, gang.attempt), labels | queue_labels(scheduling)),
        "spec": {
            **({"suspend": True} if scheduling.queue_name is not None else {}),
            "completionMode": "Indexed",
            "completions": runtime.nodes,
            "parallelism": runtime.nodes,
            "backoffLimit": 0,
            "podReplacementPolicy": "TerminatingOrFailed",
            "template": build_pod_template(job, spec, parts, settings),
        },
    }


def queue_labels(scheduling: Scheduling) -> dict[str, str]:
    """Labels by which Kueue takes a Job into a queue; none without a queue."""
    if scheduling.queue_name is None:
        return {}
    labels = {_QUEUE_LABEL: scheduling.queue_name}
    if scheduling.workload_priority_class is not None:
        labels[_PRIORITY_LABEL] = scheduling.workload_priority_class
    return labels


def _arguments(job: JobReference, gang: Gang, specified: AttemptShape) -> list[str]:
    arguments = ["train", "--stage", gang.stage, "--attempt", str(gang.attempt)]
    if gang.shape.nodes > 1:
        arguments += ["--rendezvous-host", rendezvous_host(job, gang.stage, gang.attempt)]
    if gang.shape.nodes != specified.nodes:
        arguments += ["--nodes", str(gang.shape.nodes)]
    if gang.shape.micro_batch_size != specified.micro_batch_size:
        arguments += ["--micro-batch-size", str(gang.shape.micro_batch_size)]
    if gang.resumes:
        arguments.append("--resume")
    return arguments


def _shared_memory(runtime: Runtime) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    if runtime.shared_memory is None:
        return []
    volume = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": str(runtime.shared_memory)}}
    return [(volume, {"name": "shared-memory", "mountPath": "/dev/shm"})]  # noqa: S108


def _gang_placement(job: JobReference, gang: Gang, runtime: Runtime) -> dict[str, Any]:
    """Nodes to avoid; and host names and spreading over nodes, for gangs of more than one Pod."""
    placement: dict[str, Any] = {}
    if gang.avoided_nodes:
        placement["affinity"] = avoiding(runtime.pod_template.affinity or {}, gang.avoided_nodes)
    if gang.shape.nodes == 1:
        return placement
    return placement | {
        "subdomain": rendezvous_service_name(job, gang.stage),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": gang_selector(job, gang.stage, gang.attempt)},
            }
        ],
    }
