"""Lists everything at the start and every few minutes, which corrects whatever the watches missed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from ..exceptions import ClusterError, NotFoundError
from ..metrics.work import WorkMetrics
from .lister import Lister
from .resources import WATCHED, Resource
from .store import Key, Store

log = logging.getLogger(__name__)

AFTER_START_SECONDS: Final = 15.0
"""An object deleted between the first listing and the start of the watches is noticed by this second listing."""

_RETRY_SECONDS: Final = 2.0
_DEAF_ROUNDS: Final = 2


class Relister:
    """Keeps the store honest."""

    def __init__(
        self,
        lister: Lister,
        store: Store,
        namespaces: tuple[str, ...],
        enqueue: Callable[[Key], None],
        metrics: WorkMetrics,
        interval_seconds: float = 180.0,
    ) -> None:
        self._interval = interval_seconds
        self._lister = lister
        self._store = store
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._enqueue = enqueue
        self._metrics = metrics
        self._heard: Counter[Resource] = Counter()
        self._deaf: Counter[Resource] = Counter()

    async def first_listing(self) -> None:
        """List everything, trying until the API server answers and serves AlignmentJobs."""
        while not self._store.complete:
            try:
                await self.catch_up()
            except NotFoundError as error:
                hint = "is the CustomResourceDefinition installed?"
                log.warning("%s (%s); trying again in %g s", error, hint, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._store.complete = True
                log.info("listed %d AlignmentJobs", len(self._store.alignment_jobs))

    async def catch_up(self) -> None:
        """List everything, trying until the API server answers: all that was written before is known then.

        Raises:
            NotFoundError: it does not serve a watched kind.
        """
        while True:
            try:
                for resource in WATCHED:
                    await self._list(resource)
            except NotFoundError:
                raise
            except ClusterError as error:
                log.warning("%s; trying again in %g s", error, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def run(self) -> None:
        """List everything again and again, until cancelled."""
        await asyncio.sleep(min(AFTER_START_SECONDS, self._interval))
        while True:
            await self.relist()
            await asyncio.sleep(self._interval)

    async def relist(self) -> None:
        """List everything once; an API server that does not answer is asked again next time."""
        try:
            for resource in WATCHED:
                self._judge(resource, await self._list(resource))
        except ClusterError as error:
            log.warning("%s; trying again in %g s", error, self._interval)

    def heard(self, resource: Resource) -> None:
        """A watch delivered an event."""
        self._heard[resource] += 1

    def problem(self) -> str | None:
        """Which watch went deaf: listings brought news, twice running, and the watch nothing in all that time."""
        deaf = [resource.plural for resource, rounds in self._deaf.items() if rounds >= _DEAF_ROUNDS]
        return f"the watch of {', '.join(deaf)} delivers nothing" if deaf else None

    async def _list(self, resource: Resource) -> int:
        """List one kind; returns how many AlignmentJobs that was news for."""
        news: set[Key] = set()
        for namespace in self._namespaces:
            news |= self._store.replace(resource, namespace, await self._lister.list(resource, namespace))
        for key in news:
            self._enqueue(key)
        return len(news)

    def _judge(self, resource: Resource, corrections: int) -> None:
        if corrections:
            self._metrics.watch_corrected(resource.plural, corrections)
        deaf = corrections > 0 and self._heard.pop(resource, 0) == 0
        self._deaf[resource] = self._deaf[resource] + 1 if deaf else 0
