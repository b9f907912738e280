"""What the Pods of a starting attempt wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from alignment_api.conditions import Reason

from ..planning.observed import Manifest

NEEDS_A_PERSON: Final = frozenset(
    {
        Reason.IMAGE_PULL_FAILED,
        Reason.MISSING_SECRET,
        Reason.MISSING_CONFIG_MAP,
        Reason.MISSING_CLAIM,
        Reason.POD_REJECTED,
        Reason.NOT_ALLOWED,
    }
)
"""Reasons to wait that do not go away by themselves. Unschedulable may: other jobs end and clusters grow."""

_IMAGE_ERRORS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONTAINER_ERRORS: Final = frozenset({"CreateContainerError", "RunContainerError"})
_POD_CREATION_PATIENCE: Final = timedelta(seconds=15)


@dataclass(frozen=True)
class Wait:
    """What is waited for, and when to look again though nothing happens."""

    reason: Reason
    message: str
    look_again: datetime | None = None


def what_pods_wait_for(job: Manifest | None, pods: Sequence[Manifest], now: datetime) -> Wait | None:
    """What keeps the Pods from running; None when nothing special does."""
    for pod in pods:
        wait = _container_wait(pod) or _unschedulable(pod)
        if wait is not None:
            return wait
    if not pods and job is not None:
        return _no_pods(job, now)
    return None


def _container_wait(pod: Manifest) -> Wait | None:
    name = pod["metadata"]["name"]
    for container in pod.get("status", {}).get("containerStatuses") or []:
        state: dict[str, Any] = container.get("state", {}).get("waiting") or {}
        reason, message = state.get("reason"), state.get("message", "")
        if reason in _IMAGE_ERRORS:
            image = container.get("image", "")
            return Wait(Reason.IMAGE_PULL_FAILED, f"Pod {name}: image {image} cannot be pulled: {message or reason}")
        if reason == "CreateContainerConfigError":
            missing = Reason.MISSING_CONFIG_MAP if "configmap" in message.lower() else Reason.MISSING_SECRET
            return Wait(missing, f"Pod {name}: {message}; create it, the Pod goes on by itself")
        if reason in _CONTAINER_ERRORS:
            return Wait(Reason.POD_REJECTED, f"Pod {name}: the container cannot be started: {message or reason}")
    return None


def _unschedulable(pod: Manifest) -> Wait | None:
    for condition in pod.get("status", {}).get("conditions") or []:
        if (
            condition.get("type") == "PodScheduled"
            and condition.get("status") == "False"
            and condition.get("reason") == "Unschedulable"
        ):
            return Wait(Reason.UNSCHEDULABLE, f"Pod {pod['metadata']['name']}: {condition.get('message', '')}")
    return None


def _no_pods(job: Manifest, now: datetime) -> Wait | None:
    """A Job whose Pods the API server refuses says so in events only; its having none is what can be seen."""
    created = job["metadata"].get("creationTimestamp")
    if created is None:
        return None
    patience_ends = datetime.fromisoformat(created) + _POD_CREATION_PATIENCE
    name = job["metadata"]["name"]
    if now < patience_ends:
        return Wait(Reason.STARTING, f"Job {name} has no Pods yet", look_again=patience_ends)
    return Wait(
        Reason.POD_REJECTED,
        f"Job {name} has no Pods after {_POD_CREATION_PATIENCE.seconds} s: `kubectl describe job {name}` tells why "
        "(usually a quota, an admission webhook or the Pod security of the namespace)",
    )
