"""What the client does not send: writes of a replica that does not lead, anything to a server that is busy."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from alignment_operator.cluster import client as client_module
from alignment_operator.cluster.client import Client
from alignment_operator.cluster.resources import JOB
from alignment_operator.exceptions import ConflictError, UnavailableError
from alignment_operator.handlers.session import Throttle
from tests.ports import free_port

PATH = JOB.path("team", "one")


class Server:
    """An API server that answers as it is told, and remembers what reached it."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, float]] = []
        self.agents: set[str] = set()
        self.answer: Callable[[], web.Response] = lambda: web.json_response({})

    async def serve(self, request: web.Request) -> web.Response:
        self.arrived.append((request.method, time.monotonic()))
        self.agents.add(request.headers["User-Agent"])
        return self.answer()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    server, port = Server(), free_port()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.serve)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield server, f"http://127.0.0.1:{port}"
    await runner.cleanup()


def client(url: str, may_write: Callable[[], bool] = lambda: True) -> Client:
    configuration = Configuration()
    configuration.host = url
    return Client(configuration, lambda *_: None, may_write, "pod-1")


async def test_who_does_not_lead_reads_and_writes_nothing(server: tuple[Server, str]) -> None:
    one = client(server[1], lambda: False)
    await one.request("GET", PATH, doing="read")
    with pytest.raises(UnavailableError, match="this replica does not lead"):
        await one.request("PATCH", PATH, doing="write", body={"a": 1})
    assert [verb for verb, _ in server[0].arrived] == ["GET"]
    assert server[0].agents == {"alignment-operator (pod-1)"}
    await one.close()


@pytest.mark.parametrize("pooled", [False, True])
async def test_the_leadership_is_looked_at_when_the_bytes_go_out(server: tuple[Server, str], pooled: bool) -> None:
    """It ends between the decision to write and the write, as when the process is stopped there."""
    looks = iter([True, False])
    one = client(server[1], lambda: next(looks))
    if pooled:
        await one.request("GET", PATH, doing="read")
    server[0].arrived.clear()
    for verb in ("DELETE",):
        with pytest.raises(UnavailableError):
            await one.request(verb, PATH, doing="write", body={"kind": "DeleteOptions"})
    assert next(looks, None) is None, "it was looked at twice"
    await one.close()
    assert server[0].arrived == []


async def test_nothing_is_sent_while_the_server_asks_for_a_pause(server: tuple[Server, str]) -> None:
    one = client(server[1])
    server[0].answer = lambda: web.json_response({}, status=429, headers={"Retry-After": "1"})
    with pytest.raises(UnavailableError) as refused:
        await one.request("GET", PATH, doing="read")
    assert refused.value.retry_after == 1
    server[0].answer = lambda: web.json_response({})
    await one.request("GET", JOB.path("team", "another"), doing="read")
    first, second = (at for _, at in server[0].arrived)
    assert second - first >= 1
    await one.close()


async def test_nobody_is_asked_again_at_once_who_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "UNREACHABLE_SECONDS", 0.3)
    one = client(f"http://127.0.0.1:{free_port()}")
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(UnavailableError, match="ClientConnectorError"):
            await one.request("GET", PATH, doing="read")
    assert time.monotonic() - begun >= 0.6
    await one.close()


@pytest.mark.parametrize("body", [b"", b'{"half": ', b"<html>"])
async def test_an_answer_that_is_not_json_is_none(server: tuple[Server, str], body: bytes) -> None:
    one = client(server[1])
    server[0].answer = lambda: web.Response(body=body)
    with pytest.raises(UnavailableError, match="cannot read"):
        await one.request("GET", PATH, doing="read")
    server[0].answer = lambda: web.json_response({"reason": "Conflict", "message": "changed"}, status=409)
    with pytest.raises(ConflictError, match="changed"):
        await one.request("PATCH", PATH, doing="write", body={})
    await one.close()


def test_watches_that_end_at_once_are_opened_again_a_few_times_and_then_once_a_second() -> None:
    throttle = Throttle(burst=3)
    sent, now = [], 0.0
    for _ in range(8):
        now += throttle.delay("/jobs", now)
        sent.append(round(now))
    assert sent == [0, 0, 0, 1, 2, 3, 4, 5]
    assert throttle.delay("/pods", now) == 0
