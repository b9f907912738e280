"""The Indexed Job that is the gang of one attempt at a stage."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import PROGRESS_PORT, JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec, Runtime, Stage, uses

from ..planning.observed import Settings
from .inputs import config_map_volumes, secret_variables
from .metadata import gang_labels, gang_name, gang_selector, object_metadata, rendezvous_host, rendezvous_service_name
from .pod import PodParts, build_pod_template

_GRACE_SECONDS: Final = 120
"""Time from SIGTERM to SIGKILL: all ranks agree on a step and write a checkpoint in it."""

_READINESS_PROBE: Final = {
    "httpGet": {"path": "/healthz", "port": "http"},
    "initialDelaySeconds": 5,  # until the supervisor listens; a probe that fails before would be a warning event
    "periodSeconds": 10,
    "timeoutSeconds": 5,
    "failureThreshold": 3,
}


def build_gang_job(
    job: JobReference, spec: AlignmentJobSpec, stage: Stage, attempt: int, settings: Settings
) -> dict[str, Any]:
    """The gang: ``nodes`` Pods that live and die together.

    ``backoffLimit: 0`` makes the Job controller end the whole gang when one Pod fails. Pods that are only being
    deleted count as failed too (``podReplacementPolicy: TerminatingOrFailed``): a Pod on a dead node never reaches a
    terminal phase, and its peers must not wait for that. For the same reason there is no ``podFailurePolicy``, which
    would imply the policy ``Failed``.
    """
    runtime = spec.runtime_of(stage)
    labels = gang_labels(job, stage.name, attempt)
    parts = PodParts(
        labels=labels,
        arguments=_arguments(job, stage, attempt, runtime),
        template=runtime.pod_template,
        image=runtime.image or settings.trainer_image,
        resources=runtime.resources,
        environment=secret_variables(uses.service_secrets(stage)),
        volumes=[*_shared_memory(runtime), *config_map_volumes(uses.code_config_maps(stage))],
        container={
            "ports": [{"name": "http", "containerPort": PROGRESS_PORT, "protocol": "TCP"}],
            "readinessProbe": _READINESS_PROBE,
        },
        pod=_gang_placement(job, stage, attempt, runtime),
        ipc_lock=runtime.communication.ipc_lock,
        grace_seconds=_GRACE_SECONDS,
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": object_metadata(job, gang_name(job, stage.name, attempt), labels),
        "spec": {
            "completionMode": "Indexed",
            "completions": runtime.nodes,
            "parallelism": runtime.nodes,
            "backoffLimit": 0,
            "podReplacementPolicy": "TerminatingOrFailed",
            "template": build_pod_template(job, spec, parts, settings),
        },
    }


def _arguments(job: JobReference, stage: Stage, attempt: int, runtime: Runtime) -> list[str]:
    arguments = ["train", "--stage", stage.name, "--attempt", str(attempt)]
    if runtime.nodes > 1:
        arguments += ["--rendezvous-host", rendezvous_host(job, stage.name, attempt)]
    return arguments


def _shared_memory(runtime: Runtime) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    if runtime.shared_memory is None:
        return []
    volume = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": str(runtime.shared_memory)}}
    return [(volume, {"name": "shared-memory", "mountPath": "/dev/shm"})]  # noqa: S108


def _gang_placement(job: JobReference, stage: Stage, attempt: int, runtime: Runtime) -> dict[str, Any]:
    """Host names and spreading over nodes, for gangs of more than one Pod."""
    if runtime.nodes == 1:
        return {}
    return {
        "subdomain": rendezvous_service_name(job, stage.name),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": gang_selector(job, stage.name, attempt)},
            }
        ],
    }
