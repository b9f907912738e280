"""A proxy between the operator and the API server that does to requests what networks, proxies and busy servers do."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from ...ports import free_port
from ..control_plane import ControlPlane

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fault = Callable[[web.Request, Answer], Awaitable[web.StreamResponse]]
"""Answers a request in its own way, or by what it is given, which forwards it."""

_LOOK_SECONDS = 0.2
_NOT_FORWARDED = {"host", "connection", "transfer-encoding", "content-length", "keep-alive"}


def is_watch(request: web.Request) -> bool:
    """Whether a request opens a watch."""
    return request.query.get("watch") == "true"


def refused(status: int, reason: str, **headers: str) -> Fault:
    """Every request is answered with an error, as the API server writes it; names of headers have underscores here."""
    said = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": "no",
        "code": status,
    }

    async def fault(_: web.Request, __: Answer) -> web.StreamResponse:
        return web.json_response(
            said, status=status, headers={name.replace("_", "-"): headers[name] for name in headers}
        )

    return fault


def late(seconds: float) -> Fault:
    """Every answer takes that much longer."""

    async def fault(request: web.Request, forward: Answer) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await forward(request)

    return fault


async def lost(request: web.Request, _: Answer) -> web.StreamResponse:
    """The connection is closed before the API server sees the request."""
    return _abort(request)


async def answer_lost(request: web.Request, forward: Answer) -> web.StreamResponse:
    """The API server does what it is asked to, and the connection is closed in the middle of its answer."""
    if is_watch(request):
        return await watch_says(b'{"type": "MODIFIED", "object": {"kind": "Po')(request, forward)
    await forward(request)
    return _abort(request)


def watch_says(*pieces: bytes) -> Fault:
    """A watch delivers this and ends, without an error of the connection; other requests are well."""

    async def fault(request: web.Request, forward: Answer) -> web.StreamResponse:
        if not is_watch(request):
            return await forward(request)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        return response

    return fault


def watch_silent(seconds: float) -> Fault:
    """Whatever happens, a watch delivers nothing for so long, and ends."""

    async def fault(request: web.Request, forward: Answer) -> web.StreamResponse:
        if is_watch(request):
            await asyncio.sleep(seconds)
        return await watch_says()(request, forward)

    return fault


def watch_error(code: int, reason: str) -> Fault:
    """A watch delivers an error and ends."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "message": "no", "reason": reason, "code": code}
    return watch_says(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")


def for_watches(fault: Fault) -> Fault:
    """The fault, for watches only."""

    async def chosen(request: web.Request, forward: Answer) -> web.StreamResponse:
        return await (fault(request, forward) if is_watch(request) else forward(request))

    return chosen


def any_of(seed: int, share: float, *faults: Fault) -> Fault:
    """One of the faults, for that share of the requests."""
    chance = random.Random(seed)

    async def fault(request: web.Request, forward: Answer) -> web.StreamResponse:
        if chance.random() > share:
            return await forward(request)
        return await chance.choice(faults)(request, forward)

    return fault


@dataclass
class FaultyProxy:
    """Takes plain HTTP.

    Attributes:
        url: where it listens.
        fault: what happens to requests now; None for nothing.
        seen: when requests came (monotonic), and what they were.
    """

    plane: ControlPlane
    port: int = field(default_factory=free_port)
    fault: Fault | None = None
    seen: list[tuple[float, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rate(self, since: float) -> tuple[float, Counter[str]]:
        """Requests a second since ``since`` (monotonic), and how many there were of each kind."""
        recent = [kind for at, kind in self.seen if at >= since]
        return len(recent) / (time.monotonic() - since), Counter(recent)

    @contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        """Serve, in a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._start(), loop).result(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(runner), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)

    async def _start(self) -> web.AppRunner:
        context = ssl.create_default_context(cafile=str(self.plane.authority))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        application = web.Application(client_max_size=10 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        return runner

    async def _stop(self, runner: web.AppRunner) -> None:
        self.fault = lost  # which ends open watches
        await asyncio.sleep(2 * _LOOK_SECONDS)
        await runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        kind = "watch" if is_watch(request) else request.method
        self.seen.append((time.monotonic(), kind))
        await request.read()
        if self.fault is not None:
            return await self.fault(request, self._forward)
        return await self._forward(request)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED}
        try:
            async with self._session.request(
                request.method,
                self.plane.url + request.path_qs,
                headers=headers,
                data=await request.read() or None,
                allow_redirects=False,
            ) as answer:
                return await self._pass_on(request, answer)
        except aiohttp.ClientError:
            return _abort(request)

    async def _pass_on(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_FORWARDED}
        if not is_watch(request):
            return web.Response(status=answer.status, headers=kept, body=await answer.read())
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        fault = self.fault
        reading = asyncio.ensure_future(answer.content.readany())
        while self.fault is fault:
            done, _ = await asyncio.wait({reading}, timeout=_LOOK_SECONDS)
            if not done:
                continue
            if not (chunk := reading.result()):
                return response
            await response.write(chunk)
            reading = asyncio.ensure_future(answer.content.readany())
        reading.cancel()
        return _abort(request)  # every fault meets open watches, and none of them outlives it


def _abort(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
