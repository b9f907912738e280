"""What validation says about rewards before any Pod exists."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.validation import rewards


def problems(term: dict[str, Any], **spec: Any) -> dict[str, str]:
    stage = {
        "name": "online",
        "dataset": {"inline": {"rows": [{"prompt": "q"}]}},
        "rloo": {"rewards": [{"name": "first", "repetition": {}}, {"name": "it", **term}]},
    }
    parsed = AlignmentJobSpec.model_validate(
        {
            "model": {"volume": {"path": "m"}},
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "stages": [stage],
        }
        | spec
    )
    return {problem.field: problem.message for problem in rewards.problems(parsed)}


@pytest.mark.parametrize("pattern", ["(open", "*", "a{2,1}", r"(?P<a>x)(?P<a>y)", "(" * 500 + ")" * 500])
def test_patterns_that_are_none(pattern: str) -> None:
    path = "spec.stages[0].rloo.rewards[1]"
    assert "is no regular expression" in problems({"format": {"pattern": pattern}})[f"{path}.format.pattern"]
    assert f"{path}.exactAnswer.extract" in problems({"exactAnswer": {"extract": pattern}})


def test_patterns_that_are_some() -> None:
    assert not problems({"format": {"pattern": r"(?s)<think>.*?</think>\s*\d+"}})
    assert not problems({"exactAnswer": {}})


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"runPolicy": {"progressDeadlineSeconds": 60}}, "runPolicy.progressDeadlineSeconds 60"),
        (
            {"runtime": {"nodes": 2, "communication": {"timeoutSeconds": 60}}},
            "runtime.communication.timeoutSeconds 60",
        ),
    ],
)
def test_a_reward_may_not_take_longer_than_the_gang_waits(spec: dict[str, Any], name: str) -> None:
    term = {"mathAnswer": {}, "timeoutSeconds": 60}
    (message,) = problems(term, **spec).values()
    assert name in message
    assert not problems({**term, "timeoutSeconds": 59}, **spec)
    assert not problems({"repetition": {}, "timeoutSeconds": 60}, **spec)


def test_a_process_alone_waits_for_nobody() -> None:
    assert not problems({"mathAnswer": {}}, runtime={"communication": {"timeoutSeconds": 30}})
