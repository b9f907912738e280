"""Specification of a stage -> TRL options, and what is refused before a GPU is taken."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_trainer import trainer_args
from alignment_trainer.device import Accelerator, Device
from alignment_trainer.exceptions import ConfigurationError
from alignment_trainer.registry import build_config, check_options
from alignment_trainer.training_arguments import gradient_accumulation_steps, shared_arguments

from .conftest import stage_of

CPU = Device(Accelerator.CPU, 1)
GPU = Device(Accelerator.CUDA, 8)
TWO_BY_TWO = Runtime.model_validate({"nodes": 2, "processesPerNode": 2})
ONE = Runtime.model_validate({"deepspeed": {"zeroStage": 0}})


def stage(method: Method = Method.DPO, **fields: Any) -> Stage:
    return Stage.model_validate(stage_of(method, **fields))


def arguments(of: Stage, device: Device = GPU, evaluates: bool = False) -> dict[str, Any]:
    return shared_arguments(of, TWO_BY_TWO, output_dir=Path("/out"), device=device, evaluates=evaluates)


def test_the_global_batch_is_divided_over_the_gang() -> None:
    training = stage(training={"globalBatchSize": 64, "microBatchSize": 4}).training
    assert gradient_accumulation_steps(training, TWO_BY_TWO) == 4
    assert gradient_accumulation_steps(training, ONE) == 16


def test_batches_that_do_not_divide_are_refused_with_the_numbers() -> None:
    training = stage(training={"globalBatchSize": 10, "microBatchSize": 4}).training
    with pytest.raises(ConfigurationError) as caught:
        gradient_accumulation_steps(training, TWO_BY_TWO)
    assert str(caught.value.problems[0]) == (
        "training.globalBatchSize: 10 is not a multiple of microBatchSize 4 x nodes 2 x processesPerNode 2 = 16"
    )


@pytest.mark.parametrize(
    ("precision", "device", "bf16"),
    [("auto", GPU, True), ("auto", CPU, False), ("fp32", GPU, False), ("bf16", CPU, True)],
)
def test_precision(precision: str, device: Device, bf16: bool) -> None:
    assert arguments(stage(training={"precision": precision}), device)["bf16"] is bf16


@pytest.mark.parametrize(
    ("method", "adapter", "rate"),
    [(Method.SFT, None, 2e-5), (Method.SFT, {}, 2e-4), (Method.DPO, None, 5e-7), (Method.DPO, {}, 1e-5)],
)
def test_learning_rates_that_nobody_set(method: Method, adapter: dict[str, Any] | None, rate: float) -> None:
    assert arguments(stage(method, adapter=adapter, training={}))["learning_rate"] == rate


def test_evaluation_only_when_rows_are_held_out() -> None:
    assert arguments(stage(training={}))["eval_strategy"] == "no"
    held_out = arguments(stage(training={"evalSteps": 7}), evaluates=True)
    assert (held_out["eval_strategy"], held_out["eval_steps"]) == ("steps", 7)


def test_dpo_options() -> None:
    dpo = {"beta": 0.2, "loss": [{"type": "sigmoid"}, {"type": "sft", "weight": 0.5}], "maxLength": 64}
    config = build_config(stage(dpo=dpo), ONE, output_dir=Path("/out"), device=CPU, evaluates=False)
    assert (config.beta, config.loss_type, config.loss_weights) == (0.2, ["sigmoid", "sft"], [1.0, 0.5])
    assert (config.max_length, config.disable_dropout, config.warmup_steps) == (64, True, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rat": 1}, "DPOConfig has no option learning_rat"),
        ({"dataset_num_procs": 2}, "did you mean dataset_num_proc?"),
        ({"learning_rate": 1e-5}, "set training.learningRate instead"),
        ({"beta": 0.3}, "set dpo.beta instead"),
        ({"pad_token": "<pad>"}, "set spec.tokenizer.padToken instead"),
        ({"output_dir": "/"}, "the trainer sets this itself: remove it"),
        ({"ignore_data_skip": True}, "the trainer sets this itself: remove it"),
        ({"gradient_checkpointing": True}, "set training.gradientCheckpointing instead"),
        ({"gradient_checkpointing_kwargs": {}}, "set activation_checkpointing_kwargs instead"),
        ({"dataset_num_proc": "many"}, "'many': Input should be a valid integer"),
        ({"loss_weights": [1.0, 2.0]}, "set dpo.loss instead"),
        ({"optim": "adamw_torch_fuse"}, "adamw_torch_fuse"),
    ],
)
def test_wrong_trainer_args_are_named(options: dict[str, Any], message: str) -> None:
    problems = check_options(stage(trainerArgs=options), ONE, path="spec.stages[2]")
    assert len(problems) == 1
    assert problems[0].field.startswith("spec.stages[2].trainerArgs")
    assert message in problems[0].message


def test_every_option_that_the_trainer_owns_exists() -> None:
    from trl import SFTConfig

    known = {field.name for field in dataclasses.fields(SFTConfig)}
    assert trainer_args.TRAINER_OWNED | trainer_args.PLAIN_OWNERS.keys() | trainer_args.FORMER_NAMES.keys() <= known


def test_all_wrong_options_are_shown_at_once() -> None:
    assert len(check_options(stage(trainerArgs={"foo": 1, "bar": 2, "beta": 3}), ONE)) == 3


def test_right_options_pass() -> None:
    for method in (Method.SFT, Method.REWARD, Method.DPO):
        assert check_options(stage(method, trainerArgs={"dataset_num_proc": 2, "adam_beta2": 0.95}), ONE) == []


def test_batches_are_checked_with_the_path_of_the_stage() -> None:
    problems = check_options(stage(), Runtime(nodes=3), path="spec.stages[0]")
    assert [problem.field for problem in problems] == ["spec.stages[0].training.globalBatchSize"]
