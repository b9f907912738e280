"""A judge behind the chat completions protocol: a real HTTP server, well behaved or badly in every way there is."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import local_servers

Behaviour = Callable[[BaseHTTPRequestHandler, Any], None]
"""Answers a request, of which it gets the decoded body."""

Decision = Callable[[str, str], str]
"""Response A, response B -> ``A``, ``B`` or ``tie``."""


@dataclass
class Request:
    """What arrived.

    Attributes:
        time: monotonic seconds.
        headers: names as they were sent.
        body: decoded JSON; None of a GET.
        path: with the query.
    """

    time: float
    headers: dict[str, str]
    body: Any
    path: str


@dataclass
class Log:
    """What a server was asked; counts are of answers that a provider would charge for."""

    requests: list[Request] = field(default_factory=list)
    paid: int = 0
    taken: int = 0
    under_way: int = 0
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class JudgeServer(ThreadingHTTPServer):
    """The server; each request takes the next behaviour of ``before``, and all others get a verdict.

    Attributes:
        before: behaviours of the first requests.
        always: behaviour of every request after those.
        log: what arrived.
        models: names that ``GET /models`` tells; None if it knows no such path.
        listing: status and body of its answer, in place of the names.
        key: the key that it takes; None takes any.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.before: list[Behaviour] = []
        self.always: Behaviour = verdict(longer)
        self.log = Log()
        self.models: list[str] | None = ["judge"]
        self.listing: tuple[int, object] | None = None
        self.key: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JudgeServer

    def do_GET(self) -> None:
        self._note(None)
        if not self._knows_key():
            return
        found = self.server.models
        if self.server.listing is not None:
            status, content = self.server.listing
            send(self, content, status)
        elif found is None:
            send(self, {"error": "no such path"}, 404)
        else:
            send(self, {"object": "list", "data": [{"id": name, "object": "model"} for name in found]})

    def do_POST(self) -> None:
        log, server = self.server.log, self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with log.lock:
            self._note(body)
            log.under_way += 1
            log.most_under_way = max(log.most_under_way, log.under_way)
            behaviour = server.before.pop(0) if server.before else server.always
        try:
            if self._knows_key():
                behaviour(self, body)
        finally:
            with log.lock:
                log.under_way -= 1

    def _note(self, body: Any) -> None:
        self.server.log.requests.append(Request(time.monotonic(), dict(self.headers), body, self.path))

    def _knows_key(self) -> bool:
        expected, given = self.server.key, self.headers.get("Authorization")
        if expected is None or given == f"Bearer {expected}":
            return True
        send(self, {"error": {"message": f"Incorrect API key provided: {given}", "code": "invalid_api_key"}}, 401)
        return False

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving(port: int = 0) -> Iterator[JudgeServer]:
    """A judge on a port of this machine."""
    with JudgeServer(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def send(request: BaseHTTPRequestHandler, content: object, status: int = 200, **headers: str) -> None:
    """Send JSON, or bytes as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def answer(content: object, status: int = 200, **headers: str) -> Behaviour:
    """Always the same."""
    return lambda request, _: send(request, content, status, **headers)


def completion(text: str | None, usage: tuple[int, int] | None = (100, 10), **message: object) -> dict[str, Any]:
    """The body of an answer with ``text``."""
    content: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "judge",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
        ],
    }
    if usage is not None:
        content["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return content


def says(text: str | None, **options: Any) -> Behaviour:
    """A completion with this text, which costs what completions cost."""

    def behave(request: BaseHTTPRequestHandler, _: Any) -> None:
        _charge(request)
        send(request, completion(text, **options))

    return behave


def verdict(decide: Decision, seconds: float = 0.0) -> Behaviour:
    """A verdict, after some time."""

    def behave(request: BaseHTTPRequestHandler, body: Any) -> None:
        time.sleep(seconds)
        first, second = responses(body)
        _charge(request)
        choice = decide(first, second)
        send(request, completion(json.dumps({"reason": f"{choice} is better", "verdict": choice})))

    return behave


def dying(server: JudgeServer, after: int) -> Behaviour:
    """Verdicts by `longer` until as many are paid for, and then no answer at all."""
    alive = verdict(longer)

    def behave(request: BaseHTTPRequestHandler, body: Any) -> None:
        with server.log.lock:
            server.log.taken += 1
            number = server.log.taken
        (alive if number <= after else hang_up)(request, body)

    return behave


def longer(first: str, second: str) -> str:
    """A judge that likes many words."""
    if len(first) == len(second):
        return "tie"
    return "A" if len(first) > len(second) else "B"


def responses(body: Any) -> tuple[str, str]:
    """Responses A and B in a request, found as the system message says."""
    system, user = (turn["content"] for turn in body["messages"])
    mark = re.findall(r"end in ([0-9a-f]+)", system)[0]
    found = re.fullmatch(
        rf"\[conversation {mark}\]\n.*\n\[end of conversation {mark}\]\n"
        rf"\[response A {mark}\]\n(.*)\n\[end of response A {mark}\]\n"
        rf"\[response B {mark}\]\n(.*)\n\[end of response B {mark}\]\n.*",
        user,
        re.DOTALL,
    )
    assert found is not None, user
    return found[1], found[2]


def hang_up(request: BaseHTTPRequestHandler, _: Any) -> None:
    """Close without a word."""
    local_servers.hang_up(request)


def half(request: BaseHTTPRequestHandler, _: Any) -> None:
    """Half an answer, and then nothing more."""
    body = json.dumps(completion('{"reason": "", "verdict": "A"}')).encode()
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[: len(body) // 2])
    request.wfile.flush()
    hang_up(request, None)


def drip(request: BaseHTTPRequestHandler, _: Any) -> None:
    """A byte now and then."""
    local_servers.drip(request, seconds=20)


def stall(request: BaseHTTPRequestHandler, _: Any) -> None:
    """Nothing, until the client gives up."""
    local_servers.stall(request)


def picky(refuses: str, message: str, then: Behaviour) -> Behaviour:
    """Refuses requests that have a field."""

    def behave(request: BaseHTTPRequestHandler, body: Any) -> None:
        if refuses in body:
            send(request, {"error": {"message": message, "type": "invalid_request_error"}}, 400)
        else:
            then(request, body)

    return behave


def _charge(request: BaseHTTPRequestHandler) -> None:
    server = request.server
    assert isinstance(server, JudgeServer)
    with server.log.lock:
        server.log.paid += 1
