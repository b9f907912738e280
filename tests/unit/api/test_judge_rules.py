"""What validation says about judges before any Pod exists."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.validation import validate_spec

FIELD = "spec.stages[0].evaluate.judges[1]"


def problems(judge: dict[str, Any], **spec: Any) -> dict[str, str]:
    stage = {
        "name": "check",
        "dataset": {"inline": {"rows": [{"prompt": "q"}]}},
        "evaluate": {
            "candidate": {"volume": {"path": "a"}},
            "baseline": {"volume": {"path": "b"}},
            "judges": [{"name": "first", "heuristic": {}}, {"name": "it", **judge}],
        },
    }
    parsed = AlignmentJobSpec.model_validate(
        {
            "model": {"volume": {"path": "m"}},
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "stages": [stage],
        }
        | spec
    )
    return {problem.field: problem.message for problem in validate_spec(parsed)}


def llm(url: str = "https://api.example.com/v1", **settings: Any) -> dict[str, Any]:
    return {"llm": {"url": url, "model": "judge", **settings}}


def test_judges_that_are_sound() -> None:
    assert not problems({"heuristic": {"pattern": r"<answer>.*</answer>", "refusals": True, "maxCharacters": 100}})
    assert not problems(llm())
    assert not problems(llm("http://[::1]:8000/v1?api-version=3", tokenSecretRef={"name": "judge"}))


@pytest.mark.parametrize("pattern", ["(open", "*", "a{2,1}", "(" * 500 + ")" * 500])
def test_patterns_that_are_none(pattern: str) -> None:
    found = problems({"heuristic": {"pattern": pattern}})
    assert list(found) == [f"{FIELD}.heuristic.pattern"]
    assert "is no regular expression" in found[f"{FIELD}.heuristic.pattern"]


@pytest.mark.parametrize("url", ["https://me:secret@host/v1", "http://token@host/v1"])
def test_credentials_in_an_address(url: str) -> None:
    found = problems(llm(url))
    assert "name it in tokenSecretRef" in found[f"{FIELD}.llm.url"]
    assert not any(word in found[f"{FIELD}.llm.url"] for word in ("secret@", "token@"))


@pytest.mark.parametrize("url", ["http:///v1", "http://host:port/v1", "http://[::1/v1"])
def test_addresses_that_are_none(url: str) -> None:
    assert "is no address" in problems(llm(url))[f"{FIELD}.llm.url"]


def test_an_answer_may_not_take_longer_than_the_gang_may_stand_still() -> None:
    policy = {"runPolicy": {"progressDeadlineSeconds": 120}}
    assert not problems(llm(timeoutSeconds=119), **policy)
    message = problems(llm(timeoutSeconds=120), **policy)[f"{FIELD}.llm.timeoutSeconds"]
    assert "progressDeadlineSeconds 120" in message
