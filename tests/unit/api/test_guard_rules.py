"""Thresholds of the guard that would protect from nothing are refused before any Pod exists."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_api.v1alpha1 import ONLINE_METHODS, TRAINING_METHODS, AlignmentJobSpec, Method
from alignment_api.v1alpha1.validation import validate_spec

ALL = {"maxKl": 1, "maxRewardMargin": 1, "maxLengthGrowth": 2, "maxRepetition": 0.5, "minRewardStd": 0.1}
ONLINE = {"maxLengthGrowth", "maxRepetition", "minRewardStd"}
WATCHED: dict[Method, set[str]] = {
    Method.SFT: set(),
    Method.REWARD: {"maxRewardMargin"},
    Method.DPO: {"maxRewardMargin"},
    Method.KTO: {"maxRewardMargin", "maxKl"},
    Method.ORPO: {"maxRewardMargin"},
    Method.CPO: {"maxRewardMargin"},
    Method.SIMPO: {"maxRewardMargin"},
    Method.GRPO: ONLINE,  # without a reference by default
    Method.RLOO: ONLINE | {"maxKl"},
    Method.PPO: ONLINE | {"maxKl"},
}
REWARDS = {"rewards": [{"name": "short", "length": {"maxTokens": 8}}]}


def refused(method: Method, guard: dict[str, Any], **member: Any) -> dict[str, str]:
    """Fields of the guard that are refused, and why."""
    options = (REWARDS if method in ONLINE_METHODS else {}) | member
    spec = AlignmentJobSpec.model_validate(
        {
            "model": {"volume": {"path": "models/base"}},
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "stages": [
                {
                    "name": "only",
                    "dataset": {"volume": {"path": "data.jsonl"}},
                    "guard": guard,
                    "training": {"microBatchSize": 8},
                    method.value: options,
                }
            ],
        }
    )
    path = "spec.stages[0].guard."
    return {
        problem.field.removeprefix(path): problem.message
        for problem in validate_spec(spec)
        if problem.field.startswith(path)
    }


def test_every_method_is_in_the_table() -> None:
    assert WATCHED.keys() == TRAINING_METHODS


@pytest.mark.parametrize(("method", "watched"), list(WATCHED.items()))
def test_thresholds_by_method(method: Method, watched: set[str]) -> None:
    assert set(refused(method, ALL)) == ALL.keys() - watched
    assert refused(method, {"patience": 5}) == {}


@pytest.mark.parametrize(
    ("method", "member", "words"),
    [
        (Method.GRPO, {"beta": 0.0}, "grpo.beta 0"),
        (Method.RLOO, {"beta": 0.0}, "rloo.beta 0"),
        (Method.PPO, {"klCoefficient": 0.0}, "ppo.klCoefficient 0"),
        (Method.KTO, {"loss": "apo_zero_unpaired"}, "the loss apo_zero_unpaired estimates no KL"),
        (Method.DPO, {}, "dpo stages report no KL"),
    ],
)
def test_kl_needs_a_reference(method: Method, member: dict[str, Any], words: str) -> None:
    message = refused(method, {"maxKl": 1}, **member)["maxKl"]
    assert words in message
    assert "remove it" in message


def test_kl_with_a_reference() -> None:
    assert refused(Method.GRPO, {"maxKl": 1}, beta=0.04) == {}
