"""Puts the operator together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry, disable_created_metrics

from .cluster.applier import Applier
from .cluster.client import Client, load_configuration
from .cluster.election import Alone, Election, Leadership
from .cluster.events import EventWriter
from .cluster.lease import LeaseStore
from .cluster.lister import Lister
from .cluster.queues import Queues
from .cluster.references import References
from .cluster.relister import Relister
from .cluster.status_writer import StatusWriter
from .cluster.store import Key, Store, key_of
from .controller.queue import WorkQueue
from .controller.reconciler import ClusterAdapters, Reconciler
from .controller.workers import run_workers
from .exceptions import OperatorError, SettingsError
from .handlers.session import watch_for_ever
from .handlers.watches import watch_registry
from .metrics.jobs import JobsCollector
from .metrics.server import http_server
from .metrics.work import WorkMetrics
from .progress.poller import Poller
from .progress.table import ProgressTable
from .reports.collector import ReportCollector
from .reports.keeper import ReportKeeper
from .reports.pages import report_routes
from .settings import OperatorSettings

log = logging.getLogger(__name__)

_STOP_SECONDS: Final = 20.0
"""For a graceful end, within the 30 s that Kubernetes grants."""


async def run_until_stopped(settings: OperatorSettings) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Raises:
        OperatorError: a part of it ended by itself, as the watches do when the CRD is deleted.
    """
    stop = asyncio.Event()
    _stop_on_signals(stop)
    operator = asyncio.create_task(_run(settings, stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({operator, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not operator.done():
        log.info("stopping")
        operator.cancel()
        await asyncio.wait({operator}, timeout=_STOP_SECONDS)
        return
    stopping.cancel()
    try:
        await operator
    except SettingsError:
        raise
    except Exception as error:  # the tasks of the operator fail as a group
        log.critical("a part of the operator failed", exc_info=True)
        raise OperatorError("a part of the operator failed") from error


async def _run(settings: OperatorSettings, stop: asyncio.Event) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    metrics = WorkMetrics(registry)
    configuration = await load_configuration()
    # Of its own, so that renewals wait neither for a connection nor for what a busy API server says to others.
    lease_client = Client(configuration, metrics.request_ended, identity=_identity(settings), longest_hold=1.0)
    leadership = _leadership(settings, lease_client)
    client = Client(configuration, metrics.request_ended, lambda: leadership.leading, _identity(settings))
    queue = WorkQueue[Key]()
    metrics.watch_queue(lambda: len(queue))
    metrics.watch_leading(lambda: leadership.leading)

    def enqueue(key: Key) -> None:
        if leadership.leading:  # all jobs are looked at when that begins
            queue.add(key)

    store = Store(enqueue)
    relister = Relister(Lister(client), store, settings.namespaces, enqueue, metrics, settings.relist_seconds)

    applier = Applier(client, store)
    keeper = ReportKeeper(client, applier) if settings.planning.reports else None
    collector = ReportCollector(keeper.keep, time.monotonic) if keeper is not None else None

    async def lead() -> None:
        progress = ProgressTable()
        adapters = ClusterAdapters(
            applier, StatusWriter(client, store), EventWriter(client), References(client), Queues(client)
        )
        try:
            others_led = await leadership.acquire()
            async with asyncio.TaskGroup() as group:
                group.create_task(leadership.hold())
                if others_led:  # all that they wrote is known before anything is decided, however far watches lag
                    await relister.catch_up()
                for job in store.alignment_jobs:
                    queue.add(key_of(job))
                registry.register(JobsCollector(store, progress))
                reconciler = Reconciler(store, progress, adapters, settings.planning, metrics, _now)
                group.create_task(run_workers(queue, reconciler, metrics))
                group.create_task(Poller(store, progress, enqueue, metrics, _now, reports=collector).run())
        finally:
            await leadership.release()

    def ready() -> str | None:
        return None if store.complete else "the first listing is not complete"

    try:
        reports = report_routes(store, keeper.read) if keeper is not None else ()
        async with http_server(settings.http_port, registry, relister.problem, ready, reports) as port:
            log.info("serving /metrics, /healthz, /readyz%s on port %d", " and /reports" if reports else "", port)
            # Nothing is decided before all is known: a Job not yet listed would be taken for one that does not exist.
            await relister.first_listing()
            async with asyncio.TaskGroup() as group:
                group.create_task(lead())
                group.create_task(relister.run())
                watches = watch_registry(store, enqueue, relister.heard)
                await watch_for_ever(watches, settings.namespaces, relister.catch_up, lambda: _stop_on_signals(stop))
    finally:
        queue.close()
        await client.close()
        await lease_client.close()


def _leadership(settings: OperatorSettings, client: Client) -> Leadership:
    if settings.election is None:
        return Alone()
    return Election(LeaseStore(client, settings.election), settings.election.identity, _end_process)


def _identity(settings: OperatorSettings) -> str:
    return "" if settings.election is None else settings.election.identity


def _end_process() -> None:
    """End at once, whatever is going on: another replica may write from now on."""
    log.critical("the Lease was not renewed in time: this replica ends, and another leads")
    os._exit(1)


def _stop_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _now() -> datetime:
    return datetime.now(UTC)
