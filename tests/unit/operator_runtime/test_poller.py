"""Asking gangs for progress: Pods that answer well, wrongly, slowly, endlessly or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from alignment_api import labels
from alignment_api.contract import PROGRESS_PORT
from alignment_operator.cluster.resources import ALIGNMENT_JOB, POD
from alignment_operator.cluster.store import Key, Store
from alignment_operator.metrics.jobs import JobsCollector
from alignment_operator.metrics.work import WorkMetrics
from alignment_operator.progress.poller import TIMEOUT_SECONDS, Poller
from alignment_operator.progress.table import GangKey, ProgressTable

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
        self.registry = CollectorRegistry()
        self.now = START
        metrics = WorkMetrics(self.registry)
        self.poller = Poller(self.store, self.table, self.enqueued.append, metrics, lambda: self.now)
        metadata = {"namespace": "team", "name": "job", "uid": "u", "resourceVersion": "1"}
        self.store.put(ALIGNMENT_JOB, {"metadata": metadata})

    async def poll(self) -> float:
        """Ask all gangs once; returns how many seconds that took."""
        begin = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session:
            await self.poller.poll_once(session)
        return time.monotonic() - begin


def progress(stage: str, step: int = 1, **more: Any) -> dict[str, Any]:
    said = {"stage": stage, "attempt": 1, "phase": "Training", "step": step, "updatedAt": "2026-01-01T00:00:00Z"}
    return said | more


@pytest.fixture
async def rank0() -> AsyncIterator[dict[str, Any]]:
    """A server for each address; what it answers is set by address: a JSON value or a handler."""
    answers: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        content = answers[request.url.host or ""]
        return await content(request) if callable(content) else web.json_response(content)

    application = web.Application()
    application.router.add_get("/progress", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    for host in range(1, 8):
        await web.TCPSite(runner, f"127.83.0.{host}", PROGRESS_PORT).start()
    yield answers
    await runner.cleanup()


async def test_news_is_kept_and_enqueued_and_dated_by_our_clock(rank0: dict[str, Any]) -> None:
    gangs = Gangs()
    gangs.store.put(POD, pod("sft", "127.83.0.1"))
    rank0["127.83.0.1"] = progress("sft", 3, metrics={"loss": 0.5})
    await gangs.poll()
    await gangs.poll()
    assert gangs.enqueued == [Key("team", "job")], "the same answer is no news"
    gangs.now = START.replace(hour=1)
    rank0["127.83.0.1"] = progress("sft", 3, metrics={"loss": 0.4})
    await gangs.poll()
    assert gangs.table.of("u")["sft", 1].changed_at == START, "other numbers at the same step are no step forward"
    rank0["127.83.0.1"] = progress("sft", 4)
    await gangs.poll()
    assert gangs.table.of("u")["sft", 1].changed_at == gangs.now
    gangs.registry.register(JobsCollector(gangs.store, gangs.table))
    names = {"namespace": "team", "job": "job", "stage": "sft", "attempt": "1"}
    assert gangs.registry.get_sample_value("alignment_stage_step", names) == 4
    gangs.store.remove(POD, pod("sft", "127.83.0.1"))
    await gangs.poll()
    assert gangs.registry.get_sample_value("alignment_stage_step", names) is None


async def test_hostile_answers_neither_pass_nor_delay_others(rank0: dict[str, Any]) -> None:
    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"http://127.83.0.1:{PROGRESS_PORT}/progress")

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 100_000)
            await asyncio.sleep(0)

    async def broken(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def failing(_: web.Request) -> web.StreamResponse:
        return web.json_response(progress("failing"), status=500)

    gangs = Gangs()
    bad = {"slow": slow, "elsewhere": elsewhere, "endless": endless, "broken": broken, "failing": failing}
    answers = {"good": progress("good"), **bad, "liar": progress("good", 99)}
    for host, (name, answer) in enumerate(answers.items(), start=1):
        gangs.store.put(POD, pod(name, f"127.83.0.{host}"))
        rank0[f"127.83.0.{host}"] = answer
    gangs.store.put(POD, pod("nobody", "127.83.0.200"))
    assert await gangs.poll() < TIMEOUT_SECONDS + 1
    assert [gang for gang, _ in gangs.table] == [GangKey("u", "good", 1)]
    assert gangs.registry.get_sample_value("alignment_operator_progress_errors_total") == 7


async def test_only_running_first_pods_are_asked() -> None:
    gangs = Gangs()
    gangs.store.put(POD, pod("pending", "127.83.0.1", phase="Pending"))
    gangs.store.put(POD, pod("no-address", None))
    gangs.store.put(POD, pod("second", "127.83.0.1", index="1"))
    foreign = pod("foreign", "127.83.0.1")
    foreign["metadata"]["labels"][labels.ATTEMPT] = "one"
    gangs.store.put(POD, foreign)
    strange = pod("strange", "not-an-address")
    gangs.store.put(POD, strange)
    assert await gangs.poll() < 1
    assert list(gangs.table) == []
    assert gangs.registry.get_sample_value("alignment_operator_progress_errors_total") == 0
