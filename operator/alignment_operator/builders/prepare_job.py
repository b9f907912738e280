"""The Job that checks data and configuration on CPU before any gang starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec, uses
from alignment_api.v1alpha1.model import SecretKeyReference

from ..planning.observed import Settings
from .inputs import config_map_volumes
from .metadata import prepare_job_name, prepare_labels
from .single_pod_job import build_single_pod_job


def build_prepare_job(job: JobReference, spec: AlignmentJobSpec, attempt: int, settings: Settings) -> dict[str, Any]:
    """Prepare's Job; its Pod alone gets what downloads need and ConfigMap datasets; gangs read what it prepared."""
    return build_single_pod_job(
        job,
        spec,
        settings,
        name=prepare_job_name(job, attempt),
        labels=prepare_labels(job, attempt),
        arguments=["prepare"],
        secrets=_secrets(spec),
        volumes=config_map_volumes(
            use for stage in spec.stages for use in (*uses.data_config_maps(stage), *uses.code_config_maps(stage))
        ),
    )


def _secrets(spec: AlignmentJobSpec) -> Iterator[SecretKeyReference]:
    if spec.model is not None and spec.model.hugging_face is not None and spec.model.hugging_face.token_secret_ref:
        yield spec.model.hugging_face.token_secret_ref
    for stage in spec.stages:
        yield from uses.download_secrets(stage)
        yield from uses.service_secrets(stage)
