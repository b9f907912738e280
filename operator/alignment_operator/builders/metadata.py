"""Names, labels and owner of every object made for an AlignmentJob.

Names are deterministic, so that making an object twice makes it once. A hash of the job's uid and of the stage keeps
apart what would read the same: stage ``b-c`` of job ``a`` and stage ``c`` of job ``a-b``, or a job and its namesake
of yesterday.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from alignment_api import labels
from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import GROUP, KIND, VERSION

MAX_LABEL_LENGTH: Final = 63
"""Longest DNS label, and so the longest host name of a Pod and the longest value of a label."""

_POD_SUFFIX: Final = len("-1023")
_ATTEMPT_DIGITS: Final = 4
_HASH_DIGITS: Final = 8


def prepare_job_name(job: JobReference, attempt: int) -> str:
    """Name of the batch/v1 Job that is Prepare's attempt number ``attempt``."""
    return _attempt_name(f"{job.name}-prepare", _hash(job.uid, labels.ROLE_PREPARE), attempt)


def promote_job_name(job: JobReference, attempt: int) -> str:
    """Name of the batch/v1 Job that is the promotion's attempt number ``attempt``."""
    return _attempt_name(f"{job.name}-promote", _hash(job.uid, labels.ROLE_PROMOTE), attempt)


def report_name(job: JobReference) -> str:
    """Name of the ConfigMap that holds the job's report."""
    return _head(f"{job.name}-report") + "-" + _hash(job.uid, "report")


def gang_name(job: JobReference, stage: str, attempt: int) -> str:
    """Name of the batch/v1 Job that is the gang of a stage's attempt; its Pods are called ``<name>-<index>``."""
    return _attempt_name(f"{job.name}-{stage}", _hash(job.uid, labels.ROLE_TRAIN, stage), attempt)


def rendezvous_service_name(job: JobReference, stage: str) -> str:
    """Name of the headless Service under which the Pods of a stage find each other."""
    return _head(f"{job.name}-{stage}") + "-" + _hash(job.uid, labels.ROLE_TRAIN, stage)


def pod_group_name(job: JobReference, stage: str) -> str:
    """Name of the PodGroup of a stage's gang."""
    return rendezvous_service_name(job, stage)


def network_policy_name(job: JobReference) -> str:
    """Name of the NetworkPolicy of a job's gangs."""
    return _head(f"{job.name}-gangs") + "-" + _hash(job.uid, "network-policy")


def rendezvous_host(job: JobReference, stage: str, attempt: int) -> str:
    """Host name of rank 0, as the other Pods of the gang resolve it."""
    return f"{gang_name(job, stage, attempt)}-0.{rendezvous_service_name(job, stage)}"


def run_config_name(job: JobReference, content: str) -> str:
    """Name of the ConfigMap that holds ``content``: another content, another name, since it is immutable."""
    return _head(job.name) + "-" + _hash(job.uid, content)


def workspace_claim_name(job: JobReference) -> str:
    """Name of the PersistentVolumeClaim made from ``volumeClaimTemplate``."""
    return f"{job.name}-workspace"


def object_metadata(
    job: JobReference, name: str, object_labels: dict[str, str], *, owned: bool = True
) -> dict[str, Any]:
    """``metadata`` of an object: with the AlignmentJob as its controller, so that it goes when the job goes."""
    metadata: dict[str, Any] = {"name": name, "namespace": job.namespace, "labels": object_labels}
    if owned:
        metadata["ownerReferences"] = [
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "name": job.name,
                "uid": job.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return metadata


def job_labels(job: JobReference) -> dict[str, str]:
    """Labels of everything that belongs to a job."""
    return {
        labels.JOB_NAME: job.name,
        labels.JOB_UID: job.uid,
        labels.MANAGED_BY: labels.MANAGER,
        "app.kubernetes.io/name": KIND.lower(),
        "app.kubernetes.io/instance": job.name,
    }


def prepare_labels(job: JobReference, attempt: int) -> dict[str, str]:
    """Labels of Prepare's Job and Pod."""
    return job_labels(job) | _role(labels.ROLE_PREPARE) | {labels.ATTEMPT: str(attempt)}


def promote_labels(job: JobReference, attempt: int) -> dict[str, str]:
    """Labels of the promotion's Job and Pod."""
    return job_labels(job) | _role(labels.ROLE_PROMOTE) | {labels.ATTEMPT: str(attempt)}


def stage_labels(job: JobReference, stage: str) -> dict[str, str]:
    """Labels of what all attempts at a stage share."""
    return job_labels(job) | _role(labels.ROLE_TRAIN) | {labels.STAGE: stage}


def gang_labels(job: JobReference, stage: str, attempt: int) -> dict[str, str]:
    """Labels of a gang's Job and Pods."""
    return stage_labels(job, stage) | {labels.ATTEMPT: str(attempt)}


def stage_selector(job: JobReference, stage: str) -> dict[str, str]:
    """Labels by which the Pods of all attempts at a stage are found."""
    return {labels.JOB_UID: job.uid, labels.STAGE: stage}


def gang_selector(job: JobReference, stage: str, attempt: int) -> dict[str, str]:
    """Labels by which the Pods of one gang are found."""
    return stage_selector(job, stage) | {labels.ATTEMPT: str(attempt)}


def _role(role: str) -> dict[str, str]:
    return {labels.ROLE: role, "app.kubernetes.io/component": role}


def _hash(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:_HASH_DIGITS]


def _attempt_name(text: str, digest: str, attempt: int) -> str:
    return f"{_head(text)}-{digest}-{attempt}"


def _head(text: str) -> str:
    """``text`` as the first part of a DNS-1035 label: no dots, a letter first, short enough for every suffix."""
    longest = MAX_LABEL_LENGTH - _POD_SUFFIX - 1 - _ATTEMPT_DIGITS - 1 - _HASH_DIGITS
    plain = text.replace(".", "-")
    if not plain[0].isalpha():
        plain = f"aj-{plain}"
    return plain[:longest].rstrip("-")
