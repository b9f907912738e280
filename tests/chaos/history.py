"""What happened, out of the API server's audit log and the trainers' own records. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from alignment_api import labels
from tests.e2e.audit import Write


@dataclass(frozen=True)
class Gang:
    """One attempt at a stage, as the API server recorded it; times in seconds since the epoch.

    Attributes:
        name: of its Job.
        stage: whose attempt it is.
        attempt: its number.
        created: when its Job was created.
        times_created: how often the Job came into being.
        ended: when its last Pod had ended; None while one may live.
    """

    name: str
    stage: str
    attempt: int
    created: float
    times_created: int
    ended: float | None


@dataclass(frozen=True)
class _Pod:
    name: str
    gang: tuple[str, int]


class Step(NamedTuple):
    """A training step, as rank 0 logged it."""

    time: float
    step: int
    loss: float


def gangs_of(writes: Sequence[Write], job: str) -> list[Gang]:
    """The gangs of an AlignmentJob, oldest first. Writes must be in the order of time."""
    pods = [pod for write in writes if (pod := _created_pod(write, job)) is not None]
    ends = _pod_ends(writes)
    found: dict[tuple[str, int], Gang] = {}
    for write in writes:
        key = _gang_key(write, job, "jobs")
        if key is None:
            continue
        earlier = found.get(key)
        found[key] = Gang(
            name=write.name or str(write.result["metadata"]["name"]),
            stage=key[0],
            attempt=key[1],
            created=earlier.created if earlier else seconds(write.time),
            times_created=earlier.times_created + 1 if earlier else 1,
            ended=_ended(key, pods, ends, writes, write),
        )
    return sorted(found.values(), key=lambda gang: gang.created)


def seconds(time: str) -> float:
    """An audit timestamp in seconds since the epoch."""
    return datetime.fromisoformat(time).timestamp()


def steps_of(lines: Iterable[str]) -> list[Step]:
    """The steps in a ``metrics.jsonl``; a line that was cut off with its writer is left out."""
    steps = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "loss" in entry:
            steps.append(Step(seconds(entry["time"]), entry["step"], entry["loss"]))
    return steps


def _ended(
    key: tuple[str, int], pods: Sequence[_Pod], ends: dict[str, float], writes: Sequence[Write], created: Write
) -> float | None:
    mine = [ends.get(pod.name) for pod in pods if pod.gang == key]
    if mine:
        return None if None in mine else max(end for end in mine if end is not None)
    # It never had a Pod: it ended when its Job was deleted.
    deletions = [
        seconds(write.time)
        for write in writes
        if (write.verb, write.resource, write.name) == ("delete", "jobs", created.name)
    ]
    return deletions[-1] if deletions else None


def _pod_ends(writes: Sequence[Write]) -> dict[str, float]:
    """When each Pod ended: by its kubelet's word, or because it was removed at once."""
    ends: dict[str, float] = {}
    for write in writes:
        terminal = write.resource == "pods/status" and write.result.get("status", {}).get("phase") in (
            "Succeeded",
            "Failed",
        )
        removed = (write.verb, write.resource) == ("delete", "pods") and (
            write.user.startswith("system:node:")
            or write.result.get("metadata", {}).get("deletionGracePeriodSeconds", 0) == 0
        )
        if terminal or removed:
            ends.setdefault(write.name, seconds(write.time))
    return ends


def _created_pod(write: Write, job: str) -> _Pod | None:
    key = _gang_key(write, job, "pods")
    return None if key is None else _Pod(str(write.result["metadata"]["name"]), key)


def _gang_key(write: Write, job: str, resource: str) -> tuple[str, int] | None:
    """Stage and attempt of the gang whose Job or Pod a write created."""
    if write.resource != resource or not write.created:
        return None
    its_labels = write.result.get("metadata", {}).get("labels") or {}
    if its_labels.get(labels.JOB_NAME) != job or its_labels.get(labels.ROLE) != labels.ROLE_TRAIN:
        return None
    return str(its_labels[labels.STAGE]), int(its_labels[labels.ATTEMPT])
