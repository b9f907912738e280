"""Gangs at loopback addresses, and servers there that answer for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from alignment_api import labels
from alignment_api.contract import PROGRESS_PORT, JobReference
from alignment_operator.builders.report import Report
from alignment_operator.cluster.resources import ALIGNMENT_JOB
from alignment_operator.cluster.store import Key, Store
from alignment_operator.metrics.work import WorkMetrics
from alignment_operator.progress.poller import Poller, poller_session
from alignment_operator.progress.table import ProgressTable
from alignment_operator.reports.collector import ReportCollector

START = datetime(2026, 1, 1, tzinfo=UTC)


def pod(name: str, address: str | None, uid: str = "u", index: str = "0", phase: str = "Running") -> dict[str, Any]:
    marks = {
        labels.JOB_UID: uid,
        labels.ROLE: labels.ROLE_TRAIN,
        labels.STAGE: name,
        labels.ATTEMPT: "1",
        "batch.kubernetes.io/job-completion-index": index,
    }
    metadata = {"namespace": "team", "name": name, "uid": f"pod-{name}", "resourceVersion": "2", "labels": marks}
    return {"metadata": metadata, "status": {"phase": phase, **({"podIP": address} if address else {})}}


class Gangs:
    """A store with one AlignmentJob, and its gangs at loopback addresses."""

    def __init__(self) -> None:
        self.store = Store()
        self.table = ProgressTable()
        self.enqueued: list[Key] = []
        self.reports: list[tuple[JobReference, Report]] = []
        self.refusal: Exception | None = None
        self.registry = CollectorRegistry()
        self.now = START
        self.seconds = 0.0
        self._clock: Callable[[], float] = lambda: self.seconds
        metrics = WorkMetrics(self.registry)
        self.poller = Poller(
            self.store,
            self.table,
            self.enqueued.append,
            metrics,
            lambda: self.now,
            lambda: self._clock(),
            ReportCollector(self._keep, lambda: self._clock()),
        )
        metadata = {"namespace": "team", "name": "job", "uid": "u", "resourceVersion": "1"}
        self.store.put(ALIGNMENT_JOB, {"metadata": metadata})

    async def poll(self, later: float = 60.0) -> float:
        """Ask all gangs that are due ``later`` seconds after the last time; returns how many seconds that took."""
        self.seconds += later
        begin = time.monotonic()
        async with poller_session() as session:
            await asyncio.gather(*self.poller.due(session))
        return time.monotonic() - begin

    async def _keep(self, job: JobReference, report: Report) -> None:
        """Keep a report, as the API server would; or refuse it."""
        if self.refusal is not None:
            raise self.refusal
        self.reports.append((job, report))

    def seconds_from(self, clock: Callable[[], float]) -> None:
        """Let time go on by itself."""
        self._clock = clock

    def errors(self) -> float:
        """How many gangs gave no usable answer so far."""
        return self.registry.get_sample_value("alignment_operator_progress_errors_total") or 0.0


def progress(stage: str, step: int = 1, **more: Any) -> dict[str, Any]:
    said = {"stage": stage, "attempt": 1, "phase": "Training", "step": step, "updatedAt": "2026-01-01T00:00:00Z"}
    return said | more


@asynccontextmanager
async def gang_servers(hosts: int, subnet: str = "127.83.0") -> AsyncIterator[dict[str, Any]]:
    """A server for each address of a subnet; what it answers is set by address: a JSON value or a handler."""
    answers: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        content = answers[request.url.host or ""]
        return await content(request) if callable(content) else web.json_response(content)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    for host in range(1, hosts + 1):
        await web.TCPSite(runner, f"{subnet}.{host}", PROGRESS_PORT).start()
    try:
        yield answers
    finally:
        await runner.cleanup()
