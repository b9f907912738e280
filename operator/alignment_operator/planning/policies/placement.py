"""How long part of a gang may hold nodes while the rest finds none.

Two gangs that each hold half of the nodes would wait for each other for ever. A gang of which no Pod has a node holds
nothing and goes on waiting: its place in the scheduler's queue is kept, and an autoscaler sees what it needs.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from alignment_api.conditions import Reason

from ...failures.failure import Failure
from ..attempts import Attempt
from ..context import Context
from ..observed import Manifest


def placement_ends_at(context: Context, attempt: Attempt) -> datetime | None:
    """When to give up placing the rest of the gang; None while it is placed whole, or not at all."""
    placed = [pod for pod in attempt.pods if _has_node(pod)]
    if not placed or len(placed) == len(attempt.pods) == attempt.size:
        return None
    patience = timedelta(seconds=context.spec.scheduling.placement_deadline_seconds)
    held_since = [time for pod in placed if (time := _placed_at(pod)) is not None]
    return min(held_since) + patience if held_since else None


def placement_failure(context: Context, attempt: Attempt) -> Failure | None:
    """The end of an attempt that holds some nodes and cannot have the others."""
    ends_at = placement_ends_at(context, attempt)
    if ends_at is None or context.now < ends_at:
        return None
    placed = sum(_has_node(pod) for pod in attempt.pods)
    seconds = context.spec.scheduling.placement_deadline_seconds
    return Failure(
        Reason.NOT_PLACED,
        f"only {placed} of {attempt.size} Pods found a node within {seconds} s "
        f"(scheduling.placementDeadlineSeconds): all are released, so that others can use the nodes meanwhile",
        placed=placed,
    )


def _placed_at(pod: Manifest) -> datetime | None:
    """When the Pod got its node; however long it had waited before, it held nothing."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "True":
            return datetime.fromisoformat(condition["lastTransitionTime"])
    created = pod["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(created) if created else None


def _has_node(pod: Manifest) -> bool:
    return bool(pod.get("spec", {}).get("nodeName"))
