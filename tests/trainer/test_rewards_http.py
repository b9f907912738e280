"""Rewards from a service: a real server that behaves well, and badly in every way there is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from alignment_api.contract import token_variable
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer.exceptions import FunctionError, TrainerError, UnavailableError

from ..ports import free_port
from .local_servers import drip, hang_up, stall
from .reward_terms import PROMPT, score

Behaviour = Callable[[BaseHTTPRequestHandler], None]


class Service(ThreadingHTTPServer):
    """A scorer; each request takes the next behaviour, the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours: list[Behaviour] = []
        self.requests: list[tuple[dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/score"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((dict(self.headers), body))
        behaviours = self.server.behaviours
        behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
        behaviour(self)

    def log_message(self, *_: object) -> None: ...


def answer(content: object, status: int = 200, **headers: str) -> Behaviour:
    """Answer with JSON, or with bytes as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return behave


GOOD = answer({"rewards": [1, None]})
TEXTS = ["yes", "no"]


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def term(url: str, timeout: int = 60, **http: Any) -> dict[str, Any]:
    return {"http": {"url": url, **http}, "timeoutSeconds": timeout}


def failed(kind: type[TrainerError], term: dict[str, Any]) -> str:
    with pytest.raises(kind) as caught:
        score(term, TEXTS)
    assert type(caught.value) is kind
    (problem,) = caught.value.problems
    assert problem.field == "spec.stages[0].grpo.rewards[0].http"
    return problem.message


def test_a_service_gets_the_batch_and_its_token(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = SecretKeyReference(name="scorer", key="token")
    monkeypatch.setenv(token_variable(secret), "open sesame\n")
    service.behaviours = [GOOD]
    term_ = term(service.url, tokenSecretRef={"name": "scorer", "key": "token"})
    assert score(term_, TEXTS, answer=["yes", {"deep": [1]}]) == [1, None]
    ((headers, body),) = service.requests
    assert headers["Authorization"] == "Bearer open sesame"
    assert body["prompts"] == [PROMPT, PROMPT]
    assert body["completions"] == TEXTS
    assert body["columns"] == {"answer": ["yes", {"deep": [1]}]}
    assert [turn["role"] for turn in body["conversations"][0]] == ["system", "user"]


@pytest.mark.parametrize(
    "bad",
    [
        answer({"busy": True}, 429, Retry_After="0"),
        answer(b"down", 503, Retry_After="Fri, 01 Jan 2016 00:00:00 GMT"),
        answer(b"oops", 500),
        hang_up,
    ],
)
def test_what_passes_is_tried_again(service: Service, bad: Behaviour) -> None:
    service.behaviours = [bad, bad, GOOD]
    assert score(term(service.url), TEXTS) == [1, None]
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (answer(b"overloaded", 503), "status 503: overloaded"),
        (answer(b"slow down", 429, Retry_After="1000000"), "status 429: slow down"),
        (stall, "ReadTimeout"),
        (partial(drip, seconds=60), "the answer comes too slowly"),
    ],
)
def test_a_service_that_stays_down_is_unavailable(service: Service, bad: Behaviour, message: str) -> None:
    service.behaviours = [bad]
    text = failed(UnavailableError, term(service.url, timeout=2))
    assert f"got no answer from {service.url} in timeoutSeconds 2" in text
    assert message in text


def test_a_service_that_is_not_there_is_unavailable() -> None:
    assert "ConnectError" in failed(UnavailableError, term(f"http://127.0.0.1:{free_port()}", timeout=2))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (answer({"rewards": [1]}), "returned 1 rewards for 2 responses"),
        (answer({"rewards": [1, "2"]}), "returned '2', which is no number"),
        (answer({"rewards": [[1], 2]}), "returned [1], which is no number (batch of 2 responses, row 1"),
        (answer(b'{"rewards": [NaN, 1]}'), "returned nan, which is no finite number"),
        (answer(b'{"rewards": [1e999, 1]}'), "returned inf, which is no finite number"),
        (answer({"scores": [1, 2]}), 'got an answer that is not {"rewards": [...]}: {"scores": [1, 2]}'),
        (answer([1, 2]), "got an answer that is not"),
        (answer({"rewards": "12"}), "got an answer that is not"),
        (answer(b"<html>Welcome"), "got an answer that is no JSON: <html>Welcome"),
        (answer(b"[" * 100_000), "got an answer that is no JSON"),
        (answer(b""), "got an answer that is no JSON"),
        (answer(b"no gzip at all", Content_Encoding="gzip"), "got an answer that cannot be decoded"),
        (answer(b"who are you?", 401), "is refused by the service with status 401: who are you?"),
        (answer(b"", 204), "is refused by the service with status 204"),
        (answer(b"", 307, Location="/v2/score"), "is redirected to /v2/score: set url to where the service is"),
        (answer(b" " * (2**24 + 1)), "got an answer of more than 16777216 bytes"),
    ],
)
def test_an_answer_that_is_none_ends_at_once(service: Service, bad: Behaviour, message: str) -> None:
    service.behaviours = [bad]
    assert message in failed(FunctionError, term(service.url))
    assert len(service.requests) == 1
