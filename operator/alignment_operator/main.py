"""Puts the operator together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from datetime import UTC, datetime

import kopf
from prometheus_client import CollectorRegistry, disable_created_metrics

from .cluster.applier import Applier
from .cluster.client import Client, load_configuration
from .cluster.events import EventWriter
from .cluster.lister import Lister
from .cluster.queues import Queues
from .cluster.references import References
from .cluster.relister import Relister
from .cluster.status_writer import StatusWriter
from .cluster.store import Key, Store
from .controller.queue import WorkQueue
from .controller.reconciler import ClusterAdapters, Reconciler
from .controller.workers import run_workers
from .exceptions import OperatorError, SettingsError
from .handlers.watches import watch_registry, watch_settings
from .metrics.jobs import JobsCollector
from .metrics.server import http_server
from .metrics.work import WorkMetrics
from .progress.poller import Poller
from .progress.table import ProgressTable
from .settings import OperatorSettings

log = logging.getLogger(__name__)


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
        await asyncio.wait({operator})
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
    store, progress, queue = Store(), ProgressTable(), WorkQueue[Key]()
    registry.register(JobsCollector(store, progress))
    metrics.watch_queue(lambda: len(queue))
    client = Client(await load_configuration(), metrics.request_ended)
    relister = Relister(Lister(client), store, settings.namespaces, queue.add, metrics)
    adapters = ClusterAdapters(
        Applier(client, store), StatusWriter(client, store), EventWriter(client), References(client), Queues(client)
    )
    reconciler = Reconciler(store, progress, adapters, settings.planning, metrics, _now)
    poller = Poller(store, progress, queue.add, metrics, _now)

    def ready() -> str | None:
        return None if store.complete else "the first listing is not complete"

    try:
        async with http_server(settings.http_port, registry, relister.problem, ready) as port:
            log.info("serving /metrics, /healthz and /readyz on port %d", port)
            # Nothing is decided before all is known: a Job not yet listed would be taken for one that does not exist.
            await relister.first_listing()
            async with asyncio.TaskGroup() as group:
                group.create_task(run_workers(queue, reconciler, metrics))
                group.create_task(poller.run())
                group.create_task(relister.run())
                await _watch(settings, watch_registry(store, queue.add, relister.heard), stop)
    finally:
        queue.close()
        await client.close()


async def _watch(settings: OperatorSettings, registry: kopf.OperatorRegistry, stop: asyncio.Event) -> None:
    """Run kopf's watches, which never end by themselves but with an error."""
    others = asyncio.all_tasks()
    watches = await kopf.spawn_tasks(
        registry=registry,
        settings=watch_settings(),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
    )
    # kopf has just set its own, which would wait for all tasks that it did not start. Nothing ran in between: a
    # signal reaches either the handlers of before or these.
    _stop_on_signals(stop)
    await kopf.run_tasks(watches, ignored=others)
    raise OperatorError("the watches ended")


def _stop_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _now() -> datetime:
    return datetime.now(UTC)
