"""Why an attempt failed: the one cause among its Pods and its Job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from alignment_api.conditions import Reason

from ..planning.observed import Manifest
from .failure import Failure
from .node_loss import is_over
from .pod_failure import pod_failure

_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)
_JOB_FAILING: Final = ("Failed", "FailureTarget")


def attempt_failure(job: Manifest | None, pods: Sequence[Manifest], now: datetime) -> Failure | None:
    """Why the attempt failed; None while it has not, or while the cause is not known yet.

    One Pod's end takes its whole gang down: its peers lose the connection or are told to stop. The cause is
    therefore a Pod that failed by itself, if there is one, and of these the first to end. While only victims are
    known, the other Pods are waited for: the next attempt could not start before their end anyway.
    """
    failures = [failure for pod in pods if (failure := pod_failure(pod)) is not None]
    causes = [failure for failure in failures if not failure.victim]
    if not causes and not all(is_over(pod, now) for pod in pods):
        return None
    if failures:
        return min(causes or failures, key=lambda failure: (failure.finished_at or _END_OF_TIME, failure.pod or ""))
    return _job_failure(job) if job is not None else None


def is_failing(job: Manifest) -> bool:
    """Whether the Job controller has given the Job up; its Pods may still be ending."""
    return any(_holds(condition) for condition in job.get("status", {}).get("conditions") or [])


def _job_failure(job: Manifest) -> Failure | None:
    """The Job failed and no Pod says why: the Pod was deleted, and its message with it."""
    for condition in job.get("status", {}).get("conditions") or []:
        if _holds(condition):
            return Failure(
                Reason.POD_LOST,
                "a Pod was deleted or lost "
                f"(Job {job['metadata']['name']}: {condition.get('message') or condition.get('reason', '')})",
            )
    return None


def _holds(condition: dict[str, Any]) -> bool:
    return condition.get("type") in _JOB_FAILING and condition.get("status") == "True"
