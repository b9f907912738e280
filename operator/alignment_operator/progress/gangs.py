"""Finds what runs and can be asked among the Pods: gangs and promotions; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from alignment_api import labels
from alignment_api.contract import PROGRESS_PORT

from ..planning.observed import Manifest
from .table import GangKey


@dataclass(frozen=True)
class RunningGang:
    """A gang, or a promotion, that can be asked.

    Attributes:
        gang: who it is.
        base_url: where its rank 0 answers.
        promotes: whether it is a promotion.
    """

    gang: GangKey
    base_url: str
    promotes: bool = False

    @property
    def url(self) -> str:
        """Where it says how far it is."""
        return f"{self.base_url}/progress"


def running_gangs(pods: Iterable[Manifest]) -> tuple[RunningGang, ...]:
    """The gangs whose rank 0 is running and has an address; of two Pods with the same labels, the older one first."""
    found = [
        (pod["metadata"].get("creationTimestamp", ""), gang) for pod in pods if (gang := _gang_of(pod)) is not None
    ]
    return tuple(gang for _, gang in sorted(found, key=lambda one: str(one[0])))


def _gang_of(pod: Manifest) -> RunningGang | None:
    marks = pod["metadata"].get("labels") or {}
    status = pod.get("status") or {}
    promotes = marks.get(labels.ROLE) == labels.ROLE_PROMOTE
    if not promotes and (marks.get(labels.ROLE) != labels.ROLE_TRAIN or marks.get(labels.COMPLETION_INDEX) != "0"):
        return None
    if status.get("phase") != "Running" or not status.get("podIP"):
        return None
    try:
        stage = labels.ROLE_PROMOTE if promotes else marks[labels.STAGE]
        gang = GangKey(marks[labels.JOB_UID], stage, int(marks[labels.ATTEMPT]))
        address = ip_address(status["podIP"])
    except (KeyError, ValueError):
        return None  # somebody else's Pod that borrows our labels
    if not _may_be_a_pods(address):
        return None
    host = f"[{address}]" if address.version == 6 else str(address)
    return RunningGang(gang, f"http://{host}:{PROGRESS_PORT}", promotes)


def _may_be_a_pods(address: IPv4Address | IPv6Address) -> bool:
    """Whether a Pod can have it. What is nobody's own address leads to the node's services, as a cloud's metadata.

    At its own loopback the operator has no server at that port.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    address = mapped or address
    return not (address.is_link_local or address.is_multicast or address.is_unspecified)
