"""Stages that learn from their own responses -> TRL options, and what is refused before a GPU is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_trainer.device import Accelerator, Device
from alignment_trainer.registry import build_config, check_options

from .conftest import stage_of
from .plain_rewards import REWARDS, WEIGHTS

ONE = Runtime.model_validate({"deepspeed": {"zeroStage": 0}})
TWO_BY_EIGHT = Runtime.model_validate({"nodes": 2, "processesPerNode": 8})


def stage(method: Method, member: dict[str, Any] | None = None, **fields: Any) -> Stage:
    fields.setdefault("training", {"globalBatchSize": 16})
    return Stage.model_validate(stage_of(method, **{method.value: {"rewards": REWARDS} | (member or {})}, **fields))


def config_of(of: Stage) -> Any:
    device = Device(Accelerator.CPU, 1)
    return build_config(of, ONE, output_dir=Path("/out"), device=device, evaluates=True)


def test_grpo_options() -> None:
    member = {
        "generations": 4,
        "beta": 0.04,
        "loss": "dr_grpo",
        "scaleRewards": "none",
        "iterations": 3,
        "epsilon": 0.1,
        "epsilonHigh": 0.28,
        "maskTruncated": True,
        "maxCompletionLength": 99,
        "temperature": 0.7,
        "topP": 0.9,
    }
    config = config_of(stage(Method.GRPO, member))
    assert (config.num_generations, config.beta, config.loss_type) == (4, 0.04, "dr_grpo")
    assert (config.scale_rewards, config.num_iterations, config.mask_truncated_completions) == ("none", 3, True)
    assert (config.epsilon, config.epsilon_high) == (0.1, 0.28)
    assert (config.max_completion_length, config.temperature, config.top_p) == (99, 0.7, 0.9)
    assert (config.reward_weights, config.disable_dropout, config.remove_unused_columns) == (WEIGHTS, True, False)


def test_rloo_options() -> None:
    member = {"generations": 4, "beta": 0.04, "normalizeAdvantages": True, "iterations": 3, "epsilon": 0.1}
    config = config_of(stage(Method.RLOO, member | {"maskTruncated": True}))
    assert (config.num_generations, config.beta, config.normalize_advantages) == (4, 0.04, True)
    assert (config.num_iterations, config.epsilon, config.mask_truncated_completions) == (3, 0.1, True)


@pytest.mark.parametrize("iterations", [1, 4])
def test_one_batch_of_responses_is_what_the_optimizer_sees(iterations: int) -> None:
    config = config_of(stage(Method.GRPO, {"iterations": iterations}))
    assert config.generation_batch_size == 16
    assert config.steps_per_generation == config.gradient_accumulation_steps


def test_losses_that_need_another_option_get_it() -> None:
    assert config_of(stage(Method.GRPO, {"loss": "cispo"})).epsilon_high == 5.0
    assert config_of(stage(Method.GRPO, {"loss": "cispo", "epsilonHigh": 4})).epsilon_high == 4
    assert config_of(stage(Method.GRPO)).epsilon_high is None
    assert config_of(stage(Method.GRPO, {"loss": "luspo"})).importance_sampling_level == "sequence"
    assert config_of(stage(Method.GRPO)).importance_sampling_level == "token"


@pytest.mark.parametrize("method", [Method.GRPO, Method.RLOO])
def test_a_batch_that_fits_the_gang_passes_in_the_one_process_of_prepare(method: Method) -> None:
    assert check_options(stage(method, training={"globalBatchSize": 16}), TWO_BY_EIGHT) == []


@pytest.mark.parametrize(
    ("method", "options", "member", "message"),
    [
        (Method.GRPO, {"num_generations": 4}, {}, "set grpo.generations instead"),
        (Method.RLOO, {"max_completion_length": 4}, {}, "set rloo.maxCompletionLength instead"),
        (Method.GRPO, {"reward_weights": [1.0]}, {}, "set grpo.rewards instead"),
        (Method.GRPO, {"steps_per_generation": 4}, {}, "set trainerArgs.generation_batch_size instead"),
        (Method.GRPO, {"remove_unused_columns": True}, {}, "would not see the dataset's columns"),
        (Method.GRPO, {"use_vllm": True}, {}, "the trainer image has no vLLM"),
        (Method.GRPO, {"importance_sampling_level": "batch"}, {}, "'batch' is not one of sequence, token"),
        (Method.GRPO, {"multi_objective_aggregation": "sum"}, {}, "'sum' is not one of normalize_then_sum"),
        (Method.GRPO, {"sync_ref_model": True}, {}, "set grpo.syncReference instead"),
        (Method.PPO, {"sync_ref_model": True}, {}, "PPOConfig has no option sync_ref_model"),
    ],
)
def test_wrong_trainer_args_are_named(
    method: Method, options: dict[str, Any], member: dict[str, Any], message: str
) -> None:
    problems = check_options(stage(method, member, trainerArgs=options), ONE, path="spec.stages[0]")
    assert [problem.field for problem in problems] == [f"spec.stages[0].trainerArgs.{next(iter(options))}"]
    assert message in problems[0].message


def test_right_trainer_args_pass() -> None:
    arguments = {"top_k": 20, "importance_sampling_level": "sequence", "log_completions": True}
    assert check_options(stage(Method.GRPO, {"beta": 0.1}, trainerArgs=arguments), ONE) == []


def test_a_reference_under_an_adapter_cannot_follow() -> None:
    adapted = stage(Method.GRPO, {"beta": 0.1, "syncReference": {}}, adapter={})
    problems = check_options(adapted, ONE, path="spec.stages[0]")
    assert [problem.field for problem in problems] == ["spec.stages[0].grpo.syncReference"]
    assert "the frozen base" in problems[0].message
