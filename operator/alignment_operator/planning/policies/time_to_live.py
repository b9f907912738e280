"""What goes when a job has ended, and when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from ...builders.metadata import rendezvous_service_name, report_name
from ...builders.run_config import build_run_config
from ..actions import ObjectKey
from ..context import Context
from ..observed import Manifest

_GITOPS_LABELS: Final = (
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
)
_GITOPS_ANNOTATIONS: Final = ("argocd.argoproj.io/tracking-id",)


def expires_at(context: Context) -> datetime | None:
    """When what the ended job made is removed; None for never."""
    seconds = context.spec.run_policy.ttl_seconds_after_finished
    ended = context.stored.completion_time
    return None if seconds is None or ended is None else ended + timedelta(seconds=seconds)


def remains(context: Context) -> tuple[ObjectKey, ...]:
    """Every Job and Pod that is seen of the job and not being deleted yet."""
    jobs = [ObjectKey.of("Job", job) for job in context.observed.jobs if _stays(job)]
    owned = {_name(job) for job in context.observed.jobs}
    pods = [
        ObjectKey.of("Pod", pod)
        for pod in context.observed.pods
        if _stays(pod) and not any(owner.get("name") in owned for owner in pod["metadata"].get("ownerReferences") or ())
    ]
    return (*jobs, *pods)


def unwatched(context: Context) -> tuple[ObjectKey, ...]:
    """What the job made beside Jobs and Pods; names are enough, and what is gone already is fine."""
    namespace = context.job.namespace
    services = [
        ObjectKey("Service", namespace, rendezvous_service_name(context.job, stage.name))
        for stage in context.spec.stages
    ]
    config = build_run_config(context.job, context.spec)["metadata"]["name"]
    config_maps = (config, report_name(context.job))
    return (*services, *(ObjectKey("ConfigMap", namespace, name) for name in config_maps))


def goes_itself(context: Context, job: Manifest) -> bool:
    """Whether the AlignmentJob is deleted too."""
    policy = context.spec.run_policy.ttl_policy
    return policy == "Delete" if policy is not None else not is_gitops_managed(job)


def is_gitops_managed(job: Manifest) -> bool:
    """Whether Argo CD or Flux would create the job anew if it were deleted."""
    labels, annotations = job["metadata"].get("labels") or {}, job["metadata"].get("annotations") or {}
    return any(name in labels for name in _GITOPS_LABELS) or any(name in annotations for name in _GITOPS_ANNOTATIONS)


def _stays(child: Manifest) -> bool:
    return "deletionTimestamp" not in child["metadata"]


def _name(child: Manifest) -> str:
    return str(child["metadata"]["name"])
