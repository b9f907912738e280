"""Counters of the operator's own work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


class WorkMetrics:
    """Counts reconciles, requests and restarts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "alignment_operator_reconcile_seconds", "Duration of a reconcile.", buckets=_BUCKETS, registry=registry
        )
        self._errors = Counter(
            "alignment_operator_reconcile_errors", "Reconciles that failed, by reason.", ["reason"], registry=registry
        )
        self._requests = Counter(
            "alignment_operator_api_requests",
            "Requests to the API server, by verb, resource and result (ok or the reason of the error).",
            ["verb", "resource", "result"],
            registry=registry,
        )
        self._progress_errors = Counter(
            "alignment_operator_progress_errors", "Answers of gangs that were missing or unusable.", registry=registry
        )
        self._failures = Counter(
            "alignment_attempt_failures", "Failed attempts at stages, by reason.", ["reason"], registry=registry
        )
        self._corrections = Counter(
            "alignment_operator_watch_corrections",
            "Objects about which a listing knew better than the watches.",
            ["resource"],
            registry=registry,
        )
        self._leading = Gauge(
            "alignment_operator_leading", "1 on the replica that plans and writes, 0 on the others.", registry=registry
        )
        self._depth = Gauge(
            "alignment_operator_queue_depth", "AlignmentJobs that wait for a worker.", registry=registry
        )

    def watch_leading(self, leading: Callable[[], bool]) -> None:
        """Show whether this replica leads, as ``leading`` tells it."""
        self._leading.set_function(lambda: float(leading()))

    def watch_queue(self, depth: Callable[[], float]) -> None:
        """Show the length of the queue, as ``depth`` tells it."""
        self._depth.set_function(depth)

    def reconcile_ended(self, seconds: float) -> None:
        """A reconcile ended, well or not."""
        self._seconds.observe(seconds)

    def reconcile_failed(self, reason: str) -> None:
        """A reconcile failed."""
        self._errors.labels(reason).inc()

    def request_ended(self, verb: str, resource: str, result: str) -> None:
        """A request to the API server ended."""
        self._requests.labels(verb, resource, result).inc()

    def progress_failed(self) -> None:
        """A gang gave no usable answer."""
        self._progress_errors.inc()

    def watch_corrected(self, resource: str, count: int) -> None:
        """A listing told what the watches had not."""
        self._corrections.labels(resource).inc(count)

    def failures_seen(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """A status was written: count the failures of attempts that are new in it."""
        known = _failures(before)
        for identity, reason in _failures(after).items():
            if identity not in known:
                self._failures.labels(reason).inc()


def _failures(status: Mapping[str, Any]) -> dict[tuple[str, int], str]:
    """Reasons of the failed attempts in a status, by stage and attempt."""
    return {
        (stage["name"], failure["attempt"]): failure["reason"]
        for stage in status.get("stages") or ()
        for failure in stage.get("failures") or ()
    }
