"""What a stage trains with where the manifest is silent, and who decided each option."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_api.v1alpha1 import TRAINING_METHODS, Adapter, Method, Runtime, Stage
from alignment_trainer import defaults, resolved

from .conftest import TRAINING, stage_of

ZERO_3 = Runtime.model_validate({"processesPerNode": 2, "deepspeed": {"zeroStage": 3}})
LORA = Adapter.model_validate({})
DORA = Adapter.model_validate({"lora": {"dora": True}})


def stage(method: Method = Method.DPO, **fields: Any) -> Stage:
    return Stage.model_validate(stage_of(method, **fields))


@pytest.mark.parametrize("method", sorted(TRAINING_METHODS))
def test_adapters_learn_faster_than_all_weights_and_dora_slower_than_lora(method: Method) -> None:
    full, lora, dora = (defaults.learning_rate(method, adapter) for adapter in (None, LORA, DORA))
    assert 0 < full < dora < lora < 1e-3


def test_dropout_is_off_wherever_probabilities_are_compared() -> None:
    for method in TRAINING_METHODS:
        member: dict[str, Any] = {}
        if method in (Method.GRPO, Method.RLOO, Method.PPO):
            member = {"rewards": [{"name": "form", "format": {"pattern": "x"}}]}
        chosen = defaults.options(stage(method, **{method.value: member}), ZERO_3)
        assert chosen.get("disable_dropout", False) is (method is not Method.SFT)


@pytest.mark.parametrize(
    ("fields", "reentrant"),
    [
        ({"adapter": {}, "training": TRAINING | {"gradientCheckpointing": True}}, True),
        ({"adapter": {}, "training": TRAINING | {"gradientCheckpointing": False}}, False),
        ({"training": TRAINING | {"gradientCheckpointing": True}}, False),
    ],
)
def test_adapters_under_zero_3_recompute_in_the_kind_that_works(fields: dict[str, Any], reentrant: bool) -> None:
    chosen = defaults.options(stage(**fields), ZERO_3)
    assert (chosen.get("activation_checkpointing_kwargs") == {"use_reentrant": True}) is reentrant


def test_who_decided_each_option() -> None:
    options = {
        "adam_beta2": 0.95,
        "beta": 0.1,
        "disable_dropout": True,
        "learning_rate": 5e-7,
        "seed": 42,
        "use_cpu": True,
        "adam_beta1": 0.9,
    }
    training = {key: value for key, value in TRAINING.items() if key != "learningRate"}
    decided = resolved.decided(options, stage(trainerArgs={"adam_beta2": 0.95}, training=training), ZERO_3)
    assert {name: option["by"] for name, option in decided.items()} == {
        "adam_beta2": "trainerArgs",
        "beta": "dpo.beta",
        "disable_dropout": "default",
        "learning_rate": "default",
        "seed": "training.seed",
        "use_cpu": "trainer",
        "adam_beta1": "trl",
    }
    assert {name: option["value"] for name, option in decided.items()} == options


def test_what_the_user_sets_wins_over_a_default() -> None:
    decided = resolved.decided(
        {"disable_dropout": False, "learning_rate": 1e-3}, stage(trainerArgs={"disable_dropout": False}), ZERO_3
    )
    assert {name: option["by"] for name, option in decided.items()} == {
        "disable_dropout": "trainerArgs",
        "learning_rate": "training.learningRate",
    }
