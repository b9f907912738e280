"""The Job that checks data and configuration on CPU before any gang starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec, uses
from alignment_api.v1alpha1.model import SecretKeyReference

from ..planning.observed import Settings
from .inputs import config_map_volumes, secret_variables
from .metadata import object_metadata, prepare_job_name, prepare_labels
from .pod import PodParts, build_pod_template


def build_prepare_job(job: JobReference, spec: AlignmentJobSpec, attempt: int, settings: Settings) -> dict[str, Any]:
    """Prepare's Job; its Pod alone gets what downloads need and ConfigMap datasets; gangs read what it prepared."""
    labels = prepare_labels(job, attempt)
    parts = PodParts(
        labels=labels,
        arguments=["prepare"],
        template=spec.prepare.pod_template,
        image=spec.runtime.image or settings.trainer_image,
        resources=spec.prepare.resources,
        environment=secret_variables(_secrets(spec)),
        volumes=config_map_volumes(
            use for stage in spec.stages for use in (*uses.data_config_maps(stage), *uses.code_config_maps(stage))
        ),
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": object_metadata(job, prepare_job_name(job, attempt), labels),
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "template": build_pod_template(job, spec, parts, settings),
        },
    }


def _secrets(spec: AlignmentJobSpec) -> Iterator[SecretKeyReference]:
    if spec.model is not None and spec.model.hugging_face is not None and spec.model.hugging_face.token_secret_ref:
        yield spec.model.hugging_face.token_secret_ref
    for stage in spec.stages:
        yield from uses.download_secrets(stage)
        yield from uses.service_secrets(stage)
