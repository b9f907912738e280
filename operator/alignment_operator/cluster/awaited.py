"""Which AlignmentJobs wait for others, so that news of one wake the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from alignment_api.v1alpha1 import StagePhase

from ..planning.observed import Manifest


def jobs_named_in(job: Manifest) -> frozenset[str]:
    """Names of the AlignmentJobs that ``job`` takes models from, while it may still wait for them.

    Read from the manifest as it is, since this is asked of every job at every news of it. A name that is found where
    no reference can be costs a look, and nothing else.
    """
    prepare = (job.get("status") or {}).get("prepare") or {}
    if prepare.get("phase") == StagePhase.SUCCEEDED:
        return frozenset()
    spec = job.get("spec") or {}
    places = (spec.get("model"), *({**stage, "dataset": None} for stage in spec.get("stages") or ()))
    return frozenset(name for place in places for name in _names(place))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        reference = value.get("fromJob")
        if isinstance(reference, Mapping) and isinstance(reference.get("name"), str):
            yield reference["name"]
        for below in value.values():
            yield from _names(below)
    elif isinstance(value, (list, tuple)):
        for below in value:
            yield from _names(below)


class Awaited:
    """Who waits for whom, by namespace and name."""

    def __init__(self) -> None:
        self._by_waiting: dict[tuple[str, str], frozenset[str]] = {}
        self._by_awaited: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def learn(self, namespace: str, name: str, job: Manifest | None) -> None:
        """Learn what an AlignmentJob is now; None when it is gone."""
        before = self._by_waiting.pop((namespace, name), frozenset())
        now = jobs_named_in(job) - {name} if job is not None else frozenset()
        for awaited in before - now:
            self._by_awaited[namespace, awaited].discard(name)
            if not self._by_awaited[namespace, awaited]:
                del self._by_awaited[namespace, awaited]
        for awaited in now - before:
            self._by_awaited[namespace, awaited].add(name)
        if now:
            self._by_waiting[namespace, name] = now

    def waiting_for(self, namespace: str, name: str) -> tuple[str, ...]:
        """Names of the AlignmentJobs that wait for this one."""
        return tuple(sorted(self._by_awaited.get((namespace, name), ())))
