"""Pods in which anything may run: whatever they answer, the operator stays well and the other gangs are followed."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import pytest

from alignment_api.contract import PROGRESS_PORT
from alignment_operator.cluster.resources import POD
from alignment_operator.progress.poller import TIMEOUT_SECONDS
from alignment_operator.progress.table import GangKey

from .gangs import Gangs, pod, progress

Answer = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]

GOOD = json.dumps(progress("good", 7)).encode()


def bytes_of(head: str, body: bytes = b"") -> Answer:
    """Exactly these bytes, then the end of the connection."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head.replace("\n", "\r\n").encode("latin-1") + body)
        await writer.drain()

    return answer


def again_and_again(head: str, piece: bytes, pause: float = 0.0) -> Answer:
    """A beginning, and then the same piece for ever."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head.replace("\n", "\r\n").encode())
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


def json_body(body: bytes, more: str = "") -> Answer:
    return bytes_of(f"HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: {len(body)}\n{more}\n", body)


HOSTILE: dict[str, Answer] = {
    "says nothing": again_and_again("", b"", pause=1),
    "drips its head": again_and_again("HTTP/1.1 200 OK\nX: ", b"x", pause=0.2),
    "drips its body": again_and_again("HTTP/1.1 200 OK\nContent-Length: 900\n\n", b" ", pause=0.2),
    "has an endless body": again_and_again("HTTP/1.1 200 OK\n\n", b" " * 65536),
    "has endless chunks": again_and_again("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"4\r\n    \r\n" * 4096),
    "has an endless head": again_and_again("HTTP/1.1 200 OK\n", b"X-More: yes\r\n" * 1024),
    "has an endless line": again_and_again("HTTP/1.1 200 OK\nX: ", b"x" * 65536),
    "asks to continue for ever": again_and_again("", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, pause=0.01),
    "is a gzip bomb": json_body(gzip.compress(b" " * 40_000_000, 1), "Content-Encoding: gzip\n"),
    "is zipped": json_body(gzip.compress(GOOD), "Content-Encoding: gzip\n"),
    "is cut off": bytes_of("HTTP/1.1 200 OK\nContent-Length: 9999\n\n", GOOD),
    "has a negative length": bytes_of("HTTP/1.1 200 OK\nContent-Length: -5\n\n", GOOD),
    "has two lengths": bytes_of("HTTP/1.1 200 OK\nContent-Length: 3\nContent-Length: 4\n\n", GOOD),
    "is no HTTP": bytes_of("SSH-2.0-OpenSSH_9.9\n"),
    "is noise": bytes_of("", bytes(range(256)) * 40),
    "hangs up": bytes_of(""),
    "leads elsewhere": bytes_of("HTTP/1.1 302 Found\nLocation: http://127.84.0.1:8080/progress\nContent-Length: 0\n\n"),
    "leads to a file": bytes_of("HTTP/1.1 301 Moved\nLocation: file:///etc/passwd\nContent-Length: 0\n\n"),
    "fails with a body": bytes_of(f"HTTP/1.1 500 No\nContent-Length: {len(GOOD)}\n\n", GOOD),
    "switches protocols": bytes_of("HTTP/1.1 101 Switching Protocols\nUpgrade: h2c\nConnection: Upgrade\n\n"),
    "is a page": json_body(b"<html>hello</html>"),
    "is too long": json_body(GOOD + b" " * 70_000),
    "is deep": json_body(b'{"metrics":' * 5000),
    "has a long number": json_body(GOOD.replace(b"7", b"7" * 20_000)),
    "has an infinite number": json_body(GOOD.replace(b'"step": 7', b'"step": 1e999')),
    "is about another gang": json_body(GOOD),
}


@asynccontextmanager
async def raw_server(address: str, answer: Answer) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, address, PROGRESS_PORT)
    try:
        yield
    finally:
        server.close()


async def test_nothing_that_a_pod_answers_passes_for_progress_or_delays_others() -> None:
    gangs = Gangs()
    async with AsyncExitStack() as servers:
        for host, (name, answer) in enumerate({"good": json_body(GOOD), **HOSTILE}.items(), start=1):
            await servers.enter_async_context(raw_server(f"127.84.0.{host}", answer))
            gangs.store.put(POD, pod(name, f"127.84.0.{host}"))
        gangs.store.put(POD, pod("nobody listens", "127.84.0.200"))
        tracemalloc.start()
        took = await gangs.poll()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert took < TIMEOUT_SECONDS + 5
    assert peak < 20_000_000
    assert [gang for gang, _ in gangs.table] == [GangKey("u", "good", 1)]
    assert gangs.errors() == len(HOSTILE) + 1


async def test_hundreds_of_silent_gangs_do_not_slow_down_the_others() -> None:
    """400 that take seconds each; in one round with the others, 64 at a time, they would take 19 s."""
    gangs = Gangs()
    asked: asyncio.Queue[int] = asyncio.Queue()
    steps = iter(range(1, 1000))

    async def answer(writer: asyncio.StreamWriter) -> None:
        step = next(steps)
        asked.put_nowait(step)
        await json_body(json.dumps(progress("good", step)).encode())(writer)

    with ExitStack() as listening:
        gangs.store.put(POD, pod("good", "127.84.0.1"))
        async with raw_server("127.84.0.1", answer):
            gangs.seconds_from(asyncio.get_running_loop().time)
            polling = asyncio.create_task(gangs.poller.run())
            await asyncio.wait_for(asked.get(), 12)
            for number in range(400):
                address = f"127.85.{number // 250}.{number % 250 + 1}"
                silent = listening.enter_context(socket.socket())  # the kernel takes connections, and nobody reads
                silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                silent.bind((address, PROGRESS_PORT))
                silent.listen(1)
                gangs.store.put(POD, pod(f"silent-{number}", address))
            for _ in range(2):
                await asyncio.wait_for(asked.get(), 12)
            polling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await polling
    assert gangs.table.of("u")["good", 1].progress.step >= 2
