"""The Job of one Pod without a GPU that Prepare and the promotion are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.model import SecretKeyReference

from ..planning.observed import Settings
from .inputs import secret_variables
from .metadata import object_metadata
from .pod import PodParts, build_pod_template


def build_single_pod_job(
    job: JobReference,
    spec: AlignmentJobSpec,
    settings: Settings,
    *,
    name: str,
    labels: dict[str, str],
    arguments: list[str],
    secrets: Iterable[SecretKeyReference],
    environment: Iterable[dict[str, Any]] = (),
    volumes: Iterable[tuple[dict[str, Any], dict[str, Any]]] = (),
    container: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A Job with the image, placement and resources of ``spec.prepare``.

    Args:
        name: name of the Job.
        labels: labels of the Job and its Pod.
        arguments: of the trainer image's entry point.
        secrets: keys of Secrets that the Pod gets, as environment variables.
        environment: further variables.
        volumes: further volumes, with their mounts.
        container: further fields of the container.
    """
    parts = PodParts(
        labels=labels,
        arguments=arguments,
        template=spec.prepare.pod_template,
        image=spec.runtime.image or settings.trainer_image,
        resources=spec.prepare.resources,
        environment=[*environment, *secret_variables(secrets)],
        volumes=list(volumes),
        container=container or {},
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": object_metadata(job, name, labels),
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "template": build_pod_template(job, spec, parts, settings),
        },
    }
