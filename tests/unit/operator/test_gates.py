"""The verdict over gates, and the words for it."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import AlignmentJobSpec, StageStatus
from alignment_operator.status.gates import chosen_candidate, verdict

from .manifests import pipeline_spec

WIN = {"metric": "winRate", "passed": True, "value": 0.62, "lower": 0.551, "upper": 0.689, "samples": 200}
TAX = {"metric": "perplexity", "passed": True, "value": 1.02, "samples": 90}
GATES = [
    {"metric": "winRate", "atLeast": 0.55, "confidence": 0.95},
    {"metric": "perplexity", "measure": "news", "relativeToBaseline": "ratio", "atMost": 1.05},
]


def spec_with(*gates: dict[str, Any], **evaluate: Any) -> AlignmentJobSpec:
    spec = pipeline_spec()
    stage = spec["stages"][3]["evaluate"]
    stage["gates"] = list(gates)
    for name, value in evaluate.items():
        stage[name] = value
        if name == "candidates":
            del stage["candidate"]
    return AlignmentJobSpec.model_validate(spec)


def check(gates: list[dict[str, Any]] | None, **fields: Any) -> tuple[StageStatus, ...]:
    return (StageStatus.model_validate({"name": "check", "method": "evaluate", "gates": gates, **fields}),)


@pytest.mark.parametrize(
    ("reported", "passed"),
    [
        ([WIN, TAX], True),
        ([WIN, {**TAX, "passed": False}], False),
        (None, False),
        ([], False),
        ([WIN], False),
        ([WIN, TAX, TAX], False),
        ([TAX, WIN], False),
        ([WIN, {**TAX, "value": None}], False),
    ],
)
def test_a_gate_that_is_missing_or_was_not_computed_does_not_hold(
    reported: list[dict[str, Any]] | None, passed: bool
) -> None:
    judged = verdict(spec_with(*GATES), check(reported))
    assert judged is not None
    assert judged.passed is passed
    assert judged.reason is (Reason.GATES_PASSED if passed else Reason.GATES_FAILED)


def test_a_stage_that_is_not_in_the_status_has_not_passed() -> None:
    judged = verdict(spec_with(*GATES), ())
    assert judged is not None
    assert not judged.passed


def test_without_gates_there_is_no_verdict() -> None:
    assert verdict(spec_with(), check(None)) is None


def test_the_words_say_what_was_asked_for_and_what_was_found() -> None:
    judged = verdict(spec_with(*GATES), check([{**WIN, "judge": "scorer"}, {**TAX, "passed": False, "value": 1.2}]))
    assert judged is not None
    assert judged.message == (
        "stage check: perplexity of news (ratio to the baseline) failed: 1.2 of 90 samples, at most 1.05 wanted; "
        "stage check: winRate by scorer passed: 0.62 [0.551, 0.689] of 200 samples, lower bound at least 0.55 with "
        "0.95 confidence wanted"
    )


def test_why_a_metric_could_not_be_computed_is_said() -> None:
    judged = verdict(spec_with(GATES[0]), check([{**WIN, "value": None, "message": "the judge did not answer"}]))
    assert judged is not None
    assert "winRate failed: it could not be computed: the judge did not answer (lower bound at" in judged.message


def test_a_hostile_report_without_bounds_is_judged_by_the_specification() -> None:
    judged = verdict(spec_with(GATES[1]), check([{**TAX, "atLeast": None, "atMost": None}]))
    assert judged is not None
    assert "at most 1.05 wanted" in judged.message


def test_of_several_candidates_the_chosen_one_is_named() -> None:
    models = {"short": {"fromStage": "dpo"}, "long": {"fromStage": "sft"}}
    spec = spec_with(GATES[0], candidates=[{"name": name, "model": model} for name, model in models.items()])
    found = [
        {"name": "short", "passedGates": 0},
        {"name": "long", "passedGates": 1, "value": 0.62, "chosen": True},
    ]
    stages = check([WIN], candidates=found)
    judged = verdict(spec, stages)
    assert judged is not None
    assert judged.message.startswith("stage check, candidate long: winRate passed")
    assert chosen_candidate(spec.stage("check"), stages[0]) == "long"
    assert chosen_candidate(spec.stage("check"), check([WIN])[0]) is None
    assert chosen_candidate(spec_with(GATES[0]).stage("check"), check([WIN])[0]) == "candidate"
