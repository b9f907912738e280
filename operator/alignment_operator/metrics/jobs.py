"""Gauges of the AlignmentJobs, made at each scrape from what the operator holds in memory.

Since nothing is stored in them, a job that goes away leaves no stale numbers behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from alignment_api.v1alpha1 import JobPhase

from ..cluster.store import Store
from ..progress.table import ProgressTable

_STAGE: Final = ["namespace", "job", "stage", "attempt"]


class JobsCollector(Collector):
    """Shows jobs by phase and the progress of every running gang."""

    def __init__(self, store: Store, progress: ProgressTable) -> None:
        self._store = store
        self._progress = progress

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: the names are only known with the jobs."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges of this moment."""
        yield self._phases()
        step = GaugeMetricFamily("alignment_stage_step", "Optimizer steps done.", labels=_STAGE)
        total = GaugeMetricFamily("alignment_stage_steps", "Optimizer steps of the whole stage.", labels=_STAGE)
        tokens = GaugeMetricFamily("alignment_stage_tokens_per_second", "Tokens per second of the gang.", labels=_STAGE)
        metric = GaugeMetricFamily(
            "alignment_stage_metric", "Latest value of a training metric, by TRL's name.", labels=[*_STAGE, "metric"]
        )
        for gang, said in self._progress:
            if (key := self._store.key_of_uid(gang.job_uid)) is None:
                continue
            names = [key.namespace, key.name, gang.stage, str(gang.attempt)]
            step.add_metric(names, said.progress.step)
            total.add_metric(names, said.progress.total_steps)
            if said.progress.tokens_per_second is not None:
                tokens.add_metric(names, said.progress.tokens_per_second)
            for name, value in said.progress.metrics.items():
                metric.add_metric([*names, name], value)
        yield from (step, total, tokens, metric)

    def _phases(self) -> GaugeMetricFamily:
        phases = Counter((job.get("status") or {}).get("phase") for job in self._store.alignment_jobs)
        gauge = GaugeMetricFamily("alignment_jobs", "AlignmentJobs, by phase.", labels=["phase"])
        for phase in JobPhase:
            gauge.add_metric([phase.value], phases.get(phase.value, 0))
        gauge.add_metric(["New"], phases.get(None, 0))
        return gauge
