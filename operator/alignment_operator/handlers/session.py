"""kopf's connection to the API server, and its life: watches that end are started again."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, Final

import aiohttp
import kopf

from ..cluster.client import load_configuration
from .watches import watch_settings

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 10.0
_STEADY_SECONDS: Final = 60.0
"""Watches that lived this long had no lasting trouble."""

_STOP_SECONDS: Final = 10.0
_CANCEL_AGAIN_SECONDS: Final = 0.5


async def watch_for_ever(
    registry: kopf.OperatorRegistry,
    namespaces: Collection[str],
    before_start: Callable[[], Awaitable[None]],
    started: Callable[[], None],
) -> None:
    """Run kopf's watches; start them again when they end, as they do for an error that a watch delivers.

    Args:
        registry: the handlers.
        namespaces: to serve; none means all.
        before_start: makes sure that there is something to watch before they are started again; what it raises ends
            this.
        started: called when kopf has set its signal handlers, so that they can be replaced.
    """
    sessions: list[aiohttp.ClientSession] = []
    throttle = Throttle()  # for all of them: as long as no token is taken, kopf logs in again and again

    async def login(**_: Any) -> kopf.AiohttpSession:
        connection = await _connection(throttle)
        sessions.append(connection.aiohttp_session)
        return connection

    kopf.on.login(registry=registry)(login)
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE_SECONDS
    while True:
        begun = loop.time()
        try:
            await _watch(registry, namespaces, started)
            log.warning("the watches ended; starting them again in %g s", pause)
        except Exception as error:  # whatever it is, a new list and new watches are the remedy
            log.warning("the watches ended: %s; starting them again in %g s", error or type(error).__name__, pause)
        finally:
            while sessions:
                await sessions.pop().close()
        steady = loop.time() - begun > _STEADY_SECONDS
        await asyncio.sleep(pause)
        await before_start()
        pause = _FIRST_PAUSE_SECONDS if steady else min(2 * pause, _LONGEST_PAUSE_SECONDS)


async def _watch(registry: kopf.OperatorRegistry, namespaces: Collection[str], started: Callable[[], None]) -> None:
    """Watch until one of kopf's tasks ends; raises what it ended with."""
    # Not kopf.run_tasks: when it stops, it cancels every task of the process that was created in the meantime.
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=watch_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
    )
    started()  # nothing ran in between: a signal reaches either the handlers of before or these
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _stop_all()
    for task in ended:
        with suppress(asyncio.CancelledError):
            await task


async def _stop_all() -> None:
    """End kopf's tasks. Some take a first cancellation for the wish to clean up, for which others must have ended."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _STOP_SECONDS
    while tasks := {task for task in asyncio.all_tasks() if _is_of_kopf(task)}:
        if loop.time() > deadline:
            log.error("tasks of the watches do not end: %s", ", ".join(sorted(task.get_name() for task in tasks)))
            return
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_CANCEL_AGAIN_SECONDS)


def _is_of_kopf(task: asyncio.Task[Any]) -> bool:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and str(frame.f_globals["__name__"]).split(".")[0] == "kopf"


class Throttle:
    """Middleware for requests: lets a few to the same path pass at once, and then one a second.

    kopf opens a watch again at once when it ends, and something between it and the API server may end them at once.
    """

    def __init__(self, burst: int = 5, interval_seconds: float = 1.0) -> None:
        self._burst = burst
        self._interval = interval_seconds
        self._paid_until: defaultdict[str, float] = defaultdict(float)

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send ``request`` in its time."""
        await asyncio.sleep(self.delay(request.url.path, asyncio.get_running_loop().time()))
        return await handler(request)

    def delay(self, path: str, now: float) -> float:
        """After how many seconds a request to ``path`` may be sent; it counts as sent then."""
        paid_until = max(self._paid_until[path], now) + self._interval
        self._paid_until[path] = paid_until
        return max(paid_until - now - self._burst * self._interval, 0.0)


async def _connection(throttle: Throttle) -> kopf.AiohttpSession:
    """With the same credentials as the operator's own client."""
    configuration = await load_configuration()
    scheme, _sep, token = (configuration.api_key.get("BearerToken") or "").rpartition(" ")
    info = kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or "Bearer" if token else None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        middlewares=(throttle,),
    )
    return kopf.AiohttpSession(server=info.server, aiohttp_session=session)
