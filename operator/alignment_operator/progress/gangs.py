"""Finds the running gangs among the Pods; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from alignment_api import labels
from alignment_api.contract import PROGRESS_PORT

from ..planning.observed import Manifest
from .table import GangKey


@dataclass(frozen=True)
class RunningGang:
    """A gang that can be asked.

    Attributes:
        gang: who it is.
        url: where its rank 0 answers.
    """

    gang: GangKey
    url: str


def running_gangs(pods: Iterable[Manifest]) -> tuple[RunningGang, ...]:
    """The gangs whose rank 0 is running and has an address."""
    return tuple(gang for pod in pods if (gang := _gang_of(pod)) is not None)


def _gang_of(pod: Manifest) -> RunningGang | None:
    marks = pod["metadata"].get("labels") or {}
    status = pod.get("status") or {}
    if marks.get(labels.ROLE) != labels.ROLE_TRAIN or marks.get(labels.COMPLETION_INDEX) != "0":
        return None
    if status.get("phase") != "Running" or not status.get("podIP"):
        return None
    try:
        gang = GangKey(marks[labels.JOB_UID], marks[labels.STAGE], int(marks[labels.ATTEMPT]))
        address = ip_address(status["podIP"])
    except (KeyError, ValueError):
        return None  # somebody else's Pod that borrows our labels
    host = f"[{address}]" if address.version == 6 else str(address)
    return RunningGang(gang, f"http://{host}:{PROGRESS_PORT}/progress")
