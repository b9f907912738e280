"""The HTTP server of /metrics, /healthz and /readyz, and of what else there is to read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], str | None]
"""Says what is wrong, or None."""


@asynccontextmanager
async def http_server(
    port: int, registry: CollectorRegistry, alive: Check, ready: Check, routes: Iterable[web.RouteDef] = ()
) -> AsyncIterator[int]:
    """Serve while the context lasts; gives the port (of use when ``port`` is 0, for a free one).

    Args:
        port: port to listen on, on all addresses.
        registry: the metrics.
        alive: whether the process is of any use; if not for long, Kubernetes restarts it.
        ready: whether it knows the cluster and works on jobs.
        routes: what is served besides.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/healthz", _answer(alive))
    application.router.add_get("/readyz", _answer(ready))
    application.router.add_routes(routes)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answer(check: Check) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(_: web.Request) -> web.StreamResponse:
        problem = check()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    return handler
