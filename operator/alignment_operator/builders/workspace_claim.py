"""The PersistentVolumeClaim of a job that brings a template instead of a claim."""

from __future__ import annotations

from typing import Any

from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.runtime import VolumeClaimTemplate

from .metadata import job_labels, object_metadata, workspace_claim_name


def claim_of(job: JobReference, spec: AlignmentJobSpec) -> str:
    """Name of the claim that the job's Pods mount."""
    if spec.workspace.persistent_volume_claim is not None:
        return spec.workspace.persistent_volume_claim.claim_name
    return workspace_claim_name(job)


def build_workspace_claim(job: JobReference, template: VolumeClaimTemplate) -> dict[str, Any]:
    """The claim; the AlignmentJob owns it only when the models in it are to go with the job."""
    claim: dict[str, Any] = {
        "accessModes": [mode.value for mode in template.access_modes],
        "resources": {"requests": {"storage": str(template.storage)}},
    }
    if template.storage_class_name is not None:
        claim["storageClassName"] = template.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": object_metadata(
            job, workspace_claim_name(job), job_labels(job), owned=template.when_deleted == "Delete"
        ),
        "spec": claim,
    }
