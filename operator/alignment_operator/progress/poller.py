"""Asks rank 0 of every running gang for its progress, every few seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

import aiohttp

from ..cluster.store import Key, Store
from ..exceptions import ProgressError
from ..metrics.work import WorkMetrics
from .gangs import RunningGang, running_gangs
from .parse import MAX_BYTES, parse_progress
from .table import GangKey, ProgressTable

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 3.0
"""With the status interval of 15 s, a step is in the status within 20 s."""

TIMEOUT_SECONDS: Final = 3.0
CONCURRENCY: Final = 64


class Poller:
    """Keeps the progress table up to date."""

    def __init__(
        self,
        store: Store,
        table: ProgressTable,
        enqueue: Callable[[Key], None],
        metrics: WorkMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._table = table
        self._enqueue = enqueue
        self._metrics = metrics
        self._clock = clock
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._silent: dict[GangKey, str] = {}

    async def run(self) -> None:
        """Poll until cancelled."""
        # Straight to the Pod: no proxy from the environment, no cookies kept, no name looked up.
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            connector=aiohttp.TCPConnector(limit=CONCURRENCY),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        ) as session:
            while True:
                started = asyncio.get_running_loop().time()
                try:
                    await self.poll_once(session)
                except Exception:  # what Pods say must never end the operator
                    log.exception("asking gangs for progress failed")
                elapsed = asyncio.get_running_loop().time() - started
                await asyncio.sleep(max(INTERVAL_SECONDS - elapsed, 0.1))

    async def poll_once(self, session: aiohttp.ClientSession) -> None:
        """Ask all running gangs once."""
        gangs = running_gangs(self._store.owned_pods())
        asked = {running.gang for running in gangs}
        self._table.keep(asked)
        self._silent = {gang: why for gang, why in self._silent.items() if gang in asked}
        await asyncio.gather(*(self._ask(session, running) for running in gangs))

    async def _ask(self, session: aiohttp.ClientSession, running: RunningGang) -> None:
        gang = running.gang
        async with self._slots:
            try:
                body = await _get(session, running.url)
                before = self._table.get(gang)
                progress = parse_progress(body, gang, before.progress if before else None)
            except (ProgressError, aiohttp.ClientError, TimeoutError, OSError) as error:
                self._failed(gang, f"{type(error).__name__}: {error}")
                return
        self._silent.pop(gang, None)
        key = self._store.key_of_uid(gang.job_uid)
        if self._table.put(gang, progress, self._clock()) and key is not None:
            self._enqueue(key)

    def _failed(self, gang: GangKey, why: str) -> None:
        """Log a gang that cannot be asked once for each cause: it is usual while a gang starts or ends."""
        self._metrics.progress_failed()
        if self._silent.get(gang) != why:
            self._silent[gang] = why
            log.info("no progress from stage %s attempt %d of %s: %s", gang.stage, gang.attempt, gang.job_uid, why)


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    """The body of the answer, or its first MAX_BYTES + 1 bytes.

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
        return body
