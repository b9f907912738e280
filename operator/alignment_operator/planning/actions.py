"""What a plan says is to be done; the controller carries it out in the order of the fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from alignment_api.v1alpha1 import AlignmentJobStatus

from .observed import Manifest


@dataclass(frozen=True)
class ObjectKey:
    """Names an object to delete."""

    kind: Literal["AlignmentJob", "Job", "Service", "ConfigMap", "Pod"]
    namespace: str
    name: str

    @classmethod
    def of(cls, kind: Literal["Job", "Pod"], manifest: Manifest) -> ObjectKey:
        """The key of an object that was observed."""
        return cls(kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"])


@dataclass(frozen=True)
class Event:
    """A Kubernetes event about the AlignmentJob, posted after the status that it explains was written."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """The next steps for one AlignmentJob.

    Attributes:
        apply: manifests for server-side apply, in order; applying one twice changes nothing.
        clear: objects to delete before the status says that they are gone; one that is gone already is fine.
        status: the whole new status.
        urgent: whether a phase or condition changed, so that the status is written within a second; mere numbers may
            wait for the status interval.
        events: what to tell people.
        delete: objects to delete once the status says why, so that they are not taken for lost.
        wake_at: when to plan again though nothing happens; None when only an event can change anything.
    """

    apply: tuple[dict[str, Any], ...] = ()
    clear: tuple[ObjectKey, ...] = ()
    status: AlignmentJobStatus | None = None
    urgent: bool = False
    events: tuple[Event, ...] = ()
    delete: tuple[ObjectKey, ...] = ()
    wake_at: datetime | None = None
