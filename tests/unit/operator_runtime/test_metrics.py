"""Counters and gauges."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from alignment_operator.cluster.client import _resource_in
from alignment_operator.cluster.resources import ALIGNMENT_JOB, JOB, POD
from alignment_operator.cluster.store import Store
from alignment_operator.metrics.jobs import JobsCollector
from alignment_operator.metrics.work import WorkMetrics
from alignment_operator.progress.table import ProgressTable


def test_each_failure_is_counted_once() -> None:
    registry = CollectorRegistry()
    metrics = WorkMetrics(registry)
    one = {"stages": [{"name": "sft", "failures": [{"attempt": 1, "reason": "PodLost"}]}]}
    both = {
        "stages": [{"name": "sft", "failures": [*one["stages"][0]["failures"], {"attempt": 2, "reason": "PodLost"}]}]
    }
    metrics.failures_seen({}, one)
    metrics.failures_seen(one, one)
    metrics.failures_seen(one, both)
    assert registry.get_sample_value("alignment_attempt_failures_total", {"reason": "PodLost"}) == 2


def test_jobs_by_phase() -> None:
    store, registry = Store(), CollectorRegistry()
    registry.register(JobsCollector(store, ProgressTable()))
    for number, phase in enumerate(("Running", "Running", "Failed", None)):
        metadata = {"namespace": "a", "name": str(number), "uid": str(number), "resourceVersion": "1"}
        store.put(ALIGNMENT_JOB, {"metadata": metadata, **({"status": {"phase": phase}} if phase else {})})
    shown = {phase: registry.get_sample_value("alignment_jobs", {"phase": phase}) for phase in ("Running", "Failed")}
    assert shown == {"Running": 2, "Failed": 1}
    assert registry.get_sample_value("alignment_jobs", {"phase": "New"}) == 1


def test_requests_are_counted_without_names() -> None:
    assert _resource_in(JOB.path("team", "x")) == "jobs"
    assert _resource_in(POD.path(None)) == "pods"
    assert _resource_in(POD.path("team")) == "pods"
    assert _resource_in(ALIGNMENT_JOB.path("team", "x", "status")) == "alignmentjobs/status"
