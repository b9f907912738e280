"""When a Pod can be counted as ended though nobody says so: its node is lost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from ..planning.observed import Manifest

_KUBELET_SILENCE: Final = timedelta(seconds=30)
"""How long after the end of its grace period a deleted Pod is still waited for."""


def is_terminal(pod: Manifest) -> bool:
    """Whether the Pod's containers have ended, by the word of its kubelet."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def presumed_gone_at(pod: Manifest) -> datetime | None:
    """When to stop waiting for a Pod that is being deleted; None while nobody deletes it.

    A living kubelet kills the containers when the grace period ends, which is what ``deletionTimestamp`` says. A Pod
    that is still there later is on a lost node. It may even run on behind a partition: it writes only below its own
    attempt's folder and so cannot harm the next one.
    """
    deletion = pod["metadata"].get("deletionTimestamp")
    return datetime.fromisoformat(deletion) + _KUBELET_SILENCE if deletion else None


def is_over(pod: Manifest, now: datetime) -> bool:
    """Whether the Pod holds nothing any more that the next attempt needs."""
    gone_at = presumed_gone_at(pod)
    return is_terminal(pod) or (gone_at is not None and now >= gone_at)
