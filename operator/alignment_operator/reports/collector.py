"""Decides which reports are fetched when: each once, and none so often that it would be a burden."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Final

import aiohttp

from alignment_api.contract import JobReference

from ..builders.report import Report
from .fetch import fetch_report

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 5.0
"""Between two fetches from one Pod, which may say every second that its report is new."""

MOST_OF_A_POD: Final = 50
"""Times that one Pod is asked; each may end in a write of 900 KB."""

_AT_ONCE: Final = 4
_LONGEST_REASON: Final = 300

Keep = Callable[[JobReference, Report], Awaitable[None]]


@dataclass
class _Asked:
    """What is remembered of a Pod: the digest that was kept, how often it was asked, and when it may be again."""

    digest: str | None = None
    count: int = 0
    not_before: float = 0.0
    busy: bool = False


class ReportCollector:
    """Remembers what was fetched from whom. After a restart all that still runs is fetched again."""

    def __init__(self, keep: Keep, monotonic: Callable[[], float]) -> None:
        self._keep = keep
        self._monotonic = monotonic
        self._asked: dict[Hashable, _Asked] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    def remember_only(self, pods: Collection[Hashable]) -> None:
        """Forget all Pods but these."""
        self._asked = {pod: asked for pod, asked in self._asked.items() if pod in pods}

    async def collect(
        self, session: aiohttp.ClientSession, pod: Hashable, base_url: str, digest: str, job: JobReference
    ) -> None:
        """Fetch and keep the report of that digest from a Pod, if it is due; raises nothing.

        What fails is tried again when the Pod speaks of it again.

        Args:
            pod: who is asked.
            base_url: where it answers.
            digest: what it says of its report; another digest, another report.
            job: whose report it is.
        """
        asked = self._asked.setdefault(pod, _Asked())
        is_due = asked.digest != digest and asked.count < MOST_OF_A_POD and self._monotonic() >= asked.not_before
        if asked.busy or not is_due:
            return
        asked.busy = True
        asked.count += 1
        try:
            async with self._places:
                await self._keep(job, await fetch_report(session, base_url))
        except Exception as error:  # there is no end to what a Pod can answer, and one must not stop the others
            why = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
            log.warning("the report of %s/%s was not fetched: %s", job.namespace, job.name, why)
        else:
            asked.digest = digest
            log.info("fetched the report of %s/%s", job.namespace, job.name)
        finally:
            asked.busy = False
            asked.not_before = self._monotonic() + PAUSE_SECONDS
