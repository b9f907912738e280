"""Asks rank 0 of every running gang, and promotions, how far they are, every few seconds. Anything may come back.

What they say of the job's report is passed on to those that fetch it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from alignment_api.contract import JobReference, Progress

from ..cluster.store import Key, Store
from ..exceptions import ProgressError
from ..metrics.work import WorkMetrics
from ..reports.collector import ReportCollector
from .gangs import RunningGang, running_gangs
from .parse import MAX_BYTES, by_our_clock, parse_progress
from .schedule import LONGEST_OF_PROMOTIONS_SECONDS, Lane, Schedule
from .table import GangKey, ProgressTable

log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 3.0
PLACES: Final = {Lane.NEW: 256, Lane.ANSWERING: 64, Lane.SILENT: 16, Lane.PROMOTING: 16}
"""How many gangs are asked at once."""

_LOOK_SECONDS: Final = 1.0
_LONGEST_REASON: Final = 300


def poller_session() -> aiohttp.ClientSession:
    """For going straight to Pods: no proxy, no cookies, nothing is decompressed, no connection used twice."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )


class Poller:
    """Keeps the progress table up to date."""

    def __init__(
        self,
        store: Store,
        table: ProgressTable,
        enqueue: Callable[[Key], None],
        metrics: WorkMetrics,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        reports: ReportCollector | None = None,
    ) -> None:
        self._store = store
        self._table = table
        self._enqueue = enqueue
        self._metrics = metrics
        self._clock = clock
        self._reports = reports
        self._monotonic = monotonic
        self._schedule = Schedule()
        self._places = {lane: asyncio.Semaphore(count) for lane, count in PLACES.items()}
        self._silent: dict[GangKey, str] = {}

    async def run(self) -> None:
        """Poll until cancelled."""
        async with poller_session() as session, asyncio.TaskGroup() as group:
            while True:
                for ask in self.due(session):
                    group.create_task(ask)
                await asyncio.sleep(_LOOK_SECONDS)

    def due(self, session: aiohttp.ClientSession) -> list[Coroutine[Any, Any, None]]:
        """What is to be done now: one coroutine for each gang whose time has come, which raises nothing."""
        gangs = running_gangs(self._store.owned_pods())
        running = {gang.gang for gang in gangs}
        self._table.keep(running)
        if self._reports is not None:
            self._reports.remember_only(set(gangs))
        self._silent = {gang: why for gang, why in self._silent.items() if gang in running}
        return [self._ask(session, gang) for gang in self._schedule.begin(gangs, self._monotonic())]

    async def _ask(self, session: aiohttp.ClientSession, running: RunningGang) -> None:
        gang = running.gang
        lane = Lane.PROMOTING if running.promotes else self._schedule.lane(gang)
        async with self._places[lane]:
            try:
                body, sent = await _get(session, running.url)
                before = self._table.get(gang)
                progress = parse_progress(body, gang, before.progress if before else None)
            except Exception as error:  # there is no end to what a Pod can answer, and one must not stop the others
                self._missed(running, f"{type(error).__name__}: {error}")
                return
        self._schedule.answered(gang, self._monotonic())
        self._silent.pop(gang, None)
        now = self._clock()
        key = self._store.key_of_uid(gang.job_uid)
        if self._table.put(gang, progress, by_our_clock(progress, sent, now), now) and key is not None:
            self._enqueue(key)
        if key is not None:
            await self._collect_report(session, running, progress, key)

    async def _collect_report(
        self, session: aiohttp.ClientSession, running: RunningGang, progress: Progress, key: Key
    ) -> None:
        if self._reports is not None and progress.report is not None:
            job = JobReference(namespace=key.namespace, name=key.name, uid=running.gang.job_uid)
            await self._reports.collect(session, running, running.base_url, progress.report, job)

    def _missed(self, running: RunningGang, why: str) -> None:
        """Log a gang that cannot be asked once for each cause: it is usual while a gang starts or ends.

        With promotions it is usual all the time: they answer at their end only.
        """
        gang = running.gang
        if running.promotes:
            self._schedule.missed(gang, self._monotonic(), LONGEST_OF_PROMOTIONS_SECONDS)
            return
        self._schedule.missed(gang, self._monotonic())
        self._metrics.progress_failed()
        why = " ".join(why.split())[:_LONGEST_REASON]
        if self._silent.get(gang) != why:
            self._silent[gang] = why
            log.info("no progress from stage %s attempt %d of %s: %s", gang.stage, gang.attempt, gang.job_uid, why)


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[bytes, datetime | None]:
    """The body of the answer, or its first MAX_BYTES + 1 bytes; and when it was sent, by the sender's clock.

    Raises:
        ProgressError: the answer is not a success; redirects are not followed, for they could lead anywhere.
    """
    async with session.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise ProgressError(f"HTTP {response.status}")
        body = b""
        async for chunk in response.content.iter_chunked(MAX_BYTES):
            body += chunk
            if len(body) > MAX_BYTES:
                break
        return body, _date(response.headers.get("Date"))


def _date(header: str | None) -> datetime | None:
    try:
        sent = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return sent if sent.tzinfo is not None else sent.replace(tzinfo=UTC)
