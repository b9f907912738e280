"""What Prepare finds out about judges, and judges of form."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import JobLayout, token_variable
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.evaluation import HeuristicJudge
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer import prepare_evaluation
from alignment_trainer.evaluation.judges import heuristic, reachable
from alignment_trainer.evaluation.responses import Response
from alignment_trainer.exceptions import ConfigurationError, TrainerError, UnavailableError

from ..ports import free_port
from .conftest import JOB
from .judge_endpoint import JudgeServer, serving

KEY = "sk-canary-0123456789"
FIELD = "spec.stages[0].evaluate.judges[1].llm"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv(token_variable(SecretKeyReference(name="judge")), KEY)
    monkeypatch.setattr(reachable, "_FIRST_PAUSE", 0.01)
    with serving() as judge:
        yield judge


def errors(url: str, **judge: Any) -> list[TrainerError]:
    """What Prepare says of an evaluate stage with this judge."""
    llm = {"url": url, "model": "judge", "tokenSecretRef": {"name": "judge"}, **judge}
    spec = AlignmentJobSpec.model_validate(
        {
            "model": {"volume": {"path": "m"}},
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "stages": [
                {
                    "name": "check",
                    "dataset": {"inline": {"rows": [{"prompt": "q"}]}},
                    "evaluate": {
                        "candidate": {"volume": {"path": "a"}},
                        "baseline": {"volume": {"path": "b"}},
                        "judges": [{"name": "form", "heuristic": {}}, {"name": "it", "llm": llm}],
                    },
                }
            ],
        }
    )
    layout = JobLayout(workspace=Path("/nowhere"), job=JOB)
    found = prepare_evaluation.errors(spec.stages[0], spec, {}, lambda _: None, layout, "spec.stages[0]")
    return list(found)


def failure(kind: type[TrainerError], member: str, url: str, **judge: Any) -> str:
    (error,) = errors(url, **judge)
    assert type(error) is kind
    (problem,) = error.problems
    assert problem.field == f"{FIELD}.{member}"
    assert KEY not in str(error)
    return problem.message


def test_an_endpoint_that_takes_the_key(server: JudgeServer, caplog: pytest.LogCaptureFixture) -> None:
    server.key = KEY
    assert errors(server.url) == []
    (request,) = server.log.requests
    assert (request.path, request.body) == ("/v1/models", None)
    assert caplog.text == ""


def test_an_endpoint_that_tells_no_models_will_do(server: JudgeServer) -> None:
    server.models = None
    assert errors(server.url) == []


def test_a_model_that_is_not_listed_is_worth_a_warning(server: JudgeServer, caplog: pytest.LogCaptureFixture) -> None:
    server.models = ["judge-large", "other"]
    with caplog.at_level(logging.WARNING):
        assert errors(server.url) == []
    assert f"{FIELD}.model: the endpoint does not list a model 'judge'; it serves judge-large" in caplog.text


def test_an_endpoint_that_does_not_take_the_key(server: JudgeServer) -> None:
    server.key = "another"
    text = failure(ConfigurationError, "tokenSecretRef", server.url)
    assert "status 401: Incorrect API key provided: Bearer ***" in text


def test_a_key_that_is_not_there(server: JudgeServer) -> None:
    text = failure(ConfigurationError, "tokenSecretRef", server.url, tokenSecretRef={"name": "absent"})
    assert "the value of Secret 'absent', key 'token', is not there or empty" in text
    assert server.log.requests == []


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (403, {"error": "Missing scopes: api.model.read"}, None),
        (403, {"error": "not from here"}, ConfigurationError),
        (405, {}, None),
        (429, {}, None),
        (307, {}, ConfigurationError),
        (503, {"error": "starting"}, UnavailableError),
    ],
)
def test_answers_of_endpoints(
    server: JudgeServer, status: int, said: dict[str, str], kind: type[TrainerError] | None
) -> None:
    server.listing = status, said
    assert [type(error) for error in errors(server.url)] == ([kind] if kind is not None else [])
    assert len(server.log.requests) == (3 if kind is UnavailableError else 1)


def test_an_endpoint_that_is_not_there(server: JudgeServer) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1?secret=1"
    text = failure(UnavailableError, "url", url)
    assert text.startswith(f"the judge's endpoint {url.split('?')[0]}/models does not answer: ConnectError")


@pytest.mark.parametrize(
    ("text", "settings", "score"),
    [
        ("a fine answer", {}, 0),
        ("", {}, -1),
        ("so it goes and " * 10, {}, -1),
        ("so it goes and " * 10, {"repetitionLimit": 1.0}, 0),
        ("I'm sorry, but I can't help with that.", {}, 0),
        ("I'm sorry, but I can't help with that.", {"refusals": True}, -1),
        ("a fine answer", {"refusals": True}, 0),
        ("12345", {"maxCharacters": 5}, 0),
        ("123456", {"maxCharacters": 5}, -1),
        ("<a>1\n2</a>", {"pattern": "<a>.*</a>"}, 0),
        ("so <a>1</a>", {"pattern": "<a>.*</a>"}, -1),
        ("a" * 40, {"pattern": "(a|a)*b"}, -1),
        ("", {"pattern": ".+", "maxCharacters": 1}, -2),
    ],
)
def test_faults_of_form(text: str, settings: dict[str, Any], score: float) -> None:
    judge = HeuristicJudge.model_validate(settings)
    assert heuristic.score(Response(text, tokens=3, finished=True), judge) == score
    assert heuristic.score(Response(text, tokens=3, finished=False), judge) == score - 1
