"""What a hub answers, and what the user is told; the real client against a small HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from alignment_api.contract import JobLayout, JobReference
from alignment_api.v1alpha1.model import HuggingFaceModel
from alignment_trainer import base_models
from alignment_trainer.exceptions import ConfigurationError, TrainerError, UnavailableError

from ..ports import free_port

LAYOUT_JOB = JobReference(namespace="team", name="job", uid="0123456789")


class Hub(ThreadingHTTPServer):
    """Answers every request with one status and the hub's error header."""

    status = 404
    code = ""


class Handler(BaseHTTPRequestHandler):
    """One answer for all."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Hub)
        self.send_response(self.server.status)
        self.send_header("X-Error-Code", self.server.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, used instead of the real one."""
    server = Hub(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    _use(monkeypatch, server.server_address[1])
    yield server
    server.shutdown()
    server.server_close()


def _use(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def fetch(workspace: Path) -> TrainerError:
    """The error of fetching a model."""
    model = HuggingFaceModel(repository="org/model")
    with pytest.raises(TrainerError) as caught:
        base_models.fetch(model, JobLayout(workspace, LAYOUT_JOB), "spec.model")
    assert [problem.field for problem in caught.value.problems] == ["spec.model.huggingFace"]
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "kind", "message"),
    [
        (401, "RepoNotFound", ConfigurationError, "there is no such repository, or it is private"),
        (403, "GatedRepo", ConfigurationError, "gated: set tokenSecretRef to a Secret with a token"),
        (404, "RepoNotFound", ConfigurationError, "there is no such repository"),
        (404, "RevisionNotFound", ConfigurationError, "there is no such revision"),
    ],
)
def test_refusals(tmp_path: Path, hub: Hub, status: int, code: str, kind: type[TrainerError], message: str) -> None:
    hub.status, hub.code = status, code
    error = fetch(tmp_path)
    assert type(error) is kind
    assert message in error.message
    assert "org/model" in error.message


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, free_port())
    error = fetch(tmp_path)
    assert type(error) is UnavailableError
    assert "the hub cannot be reached" in error.message
