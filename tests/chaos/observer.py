"""Follows a job while faults strike it: every status that it shows, and every moment with two gangs alive."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, NamedTuple, Self

from tests.cluster.api import Api
from tests.cluster.shell import ClusterError

from . import gang
from .scene import Object, Scene

_INTERVAL: Final = 0.25


class Snapshot(NamedTuple):
    """A status and when it was first seen, in seconds since the epoch."""

    time: float
    status: Object


class Observer:
    """A thread that looks several times a second, over a connection of its own.

    Attributes:
        snapshots: every status that was seen, once.
        twice_alive: stage and attempts of gangs whose processes were seen alive at the same instant.
    """

    def __init__(self, namespace: str, name: str) -> None:
        self.snapshots: list[Snapshot] = []
        self.twice_alive: set[tuple[str, tuple[int, ...]]] = set()
        self._scene = Scene(namespace, name, Api(timeout=3))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="observer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join(timeout=120)

    def _look(self) -> None:
        version = None
        while not self._end.wait(_INTERVAL):
            try:
                job = self._scene.job()
            except (ClusterError, ValueError):
                continue
            if job and job["metadata"]["resourceVersion"] != version:
                version = job["metadata"]["resourceVersion"]
                self.snapshots.append(Snapshot(time.time(), job.get("status", {})))
            self._look_at_processes()

    def _look_at_processes(self) -> None:
        alive: dict[str, set[int]] = {}
        for member in gang.members():
            if member.training_processes():
                alive.setdefault(member.stage, set()).add(member.attempt)
        self.twice_alive |= {(stage, tuple(sorted(attempts))) for stage, attempts in alive.items() if len(attempts) > 1}
