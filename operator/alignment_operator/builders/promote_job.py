"""The Job that puts the chosen candidate where it is served from."""

from __future__ import annotations

from typing import Any

from alignment_api.contract import IMAGE_VARIABLE, JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec, uses

from ..planning.observed import Settings
from .metadata import promote_job_name, promote_labels
from .pod import HTTP_PORT, report_environment
from .single_pod_job import build_single_pod_job


def build_promote_job(job: JobReference, spec: AlignmentJobSpec, attempt: int, settings: Settings) -> dict[str, Any]:
    """The promotion's Job; its Pod alone gets what the places that a model goes to ask for."""
    return build_single_pod_job(
        job,
        spec,
        settings,
        name=promote_job_name(job, attempt),
        labels=promote_labels(job, attempt),
        arguments=["promote", "--attempt", str(attempt)],
        secrets=uses.promotion_secrets(spec.promotion) if spec.promotion is not None else (),
        environment=[
            {"name": IMAGE_VARIABLE, "value": spec.runtime.image or settings.trainer_image},
            *report_environment(settings),
        ],
        container={"ports": [HTTP_PORT]},
    )
