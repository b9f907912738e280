"""Workers that take keys off the queue."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import Final

from ..cluster.store import Key
from ..exceptions import ClusterError, ConflictError, RejectedError
from ..logs import JOB
from ..metrics.work import WorkMetrics
from .queue import WorkQueue
from .reconciler import Reconciler

log = logging.getLogger(__name__)

WORKERS: Final = 16
"""How many jobs are worked on at once; the time goes into waiting for the API server."""

LONGEST_RECONCILE_SECONDS: Final = 300.0
"""A reconcile is some requests, each with a timeout; one that takes longer hangs and is given up."""

AFTER_CONFLICT_SECONDS: Final = 0.5


async def run_workers(queue: WorkQueue[Key], reconciler: Reconciler, metrics: WorkMetrics) -> None:
    """Work on keys until cancelled."""
    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(_work(queue, reconciler, metrics))


async def _work(queue: WorkQueue[Key], reconciler: Reconciler, metrics: WorkMetrics) -> None:
    while True:
        key = await queue.get()
        started = perf_counter()
        try:
            async with asyncio.timeout(LONGEST_RECONCILE_SECONDS):
                delay = await reconciler.reconcile(key)
        except ConflictError as error:  # usual: people and controllers write too
            log.info("%s; planning again", error, extra={JOB: str(key)})
            queue.wake(key, AFTER_CONFLICT_SECONDS)
            queue.done(key)
        except ClusterError as error:
            again = queue.failed(key, error.retry_after)
            metrics.reconcile_failed(error.reason)
            level = logging.ERROR if isinstance(error, RejectedError) else logging.WARNING
            log.log(level, "%s; trying again in %g s", error, again, extra={JOB: str(key)})
        except Exception as error:  # one job that cannot be handled must not stop the others
            again = queue.failed(key)
            metrics.reconcile_failed(type(error).__name__)
            log.exception("unexpected error; trying again in %g s", again, extra={JOB: str(key)})
        else:
            queue.wake(key, delay)
            queue.done(key)
        finally:
            metrics.reconcile_ended(perf_counter() - started)
