"""PPO stages by the real command line: two ZeRO-3 processes, values that start from a reward model, an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_trainer.device import Accelerator, Device
from alignment_trainer.registry import build_config, check_options

from .conftest import Workspace, stage_of, workspace_in
from .method_checks import check_finished, check_generates, check_resumed
from .method_runs import LORA, ONE_PROCESS, StageRun, cut_off_and_resume, run_stage
from .ppo_runs import ROWS

PPO: dict[str, Any] = {
    "rewards": [{"name": "short", "length": {"maxTokens": 2, "slack": 8}}, {"name": "varied", "repetition": {}}],
    "maxCompletionLength": 8,
    "iterations": 3,
    "adaptiveKl": {"target": 0.5, "horizon": 20},
    "missingEosPenalty": 0.5,
}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with workspace_in(tmp_path_factory.mktemp("ppo"), tiny_model) as workspace:
        reward_model = workspace.root / "models/reward"
        AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1).save_pretrained(reward_model)
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(reward_model)
        yield workspace


@pytest.fixture(scope="module")
def full(volume: Workspace) -> StageRun:
    """All weights, and values of a model that starts from the reward model. It is cut off between two passes."""
    ppo = PPO | {"value": {"model": {"volume": {"path": "models/reward"}}}}
    return run_stage(volume, Method.PPO, ROWS, name="full", ppo=ppo)


def test_a_finished_stage(full: StageRun) -> None:
    check_finished(full)
    first = full.history[1]
    assert first["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert first["val/ratio"] == pytest.approx(1, abs=1e-5)
    assert first["loss/policy_avg"] == pytest.approx(0, abs=1e-5)
    assert first["kl_coef"] == 0.05
    assert full.history[4]["kl_coef"] == pytest.approx(0.05 * (1 - 0.2 * 4 / 20)), "far below its target"
    assert first["loss/value_avg"] > full.history[3]["loss/value_avg"] > 0, "values learn from the same responses"
    assert first["reward"] == pytest.approx(first["rewards/short/mean"] + first["rewards/varied/mean"])


def test_the_model_is_the_policy_alone(full: StageRun) -> None:
    check_generates(full)


def test_a_run_cut_off_between_two_passes_ends_like_an_uninterrupted_one(full: StageRun) -> None:
    check_resumed(full, cut_off_and_resume(full))


def test_adapters_of_policy_and_values(volume: Workspace) -> None:
    run = run_stage(
        volume, Method.PPO, ROWS, name="adapters", ppo=PPO, adapter=LORA, training={"gradientCheckpointing": True}
    )
    check_finished(run)
    check_generates(run)
    assert run.history[1]["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert run.history[1]["loss/value_avg"] > run.history[3]["loss/value_avg"] > 0


def stage(**fields: Any) -> Stage:
    return Stage.model_validate(stage_of(Method.PPO, **({"ppo": PPO} | fields)))


def problems_of(**fields: Any) -> list[str]:
    found = check_options(stage(**fields), Runtime.model_validate(ONE_PROCESS), path="spec.stages[0]")
    return [str(problem) for problem in found]


def test_every_field_reaches_the_configuration() -> None:
    ppo = PPO | {
        "klCoefficient": 0.11, "discount": 0.9, "gaeLambda": 0.8, "clipRange": 0.15, "valueClipRange": 0.3,
        "valueCoefficient": 0.4, "whitenRewards": True, "temperature": 0.7, "topP": 0.9,
        "value": {"sharedBackbone": True},
    }  # fmt: skip
    config = build_config(
        stage(ppo=ppo), Runtime.model_validate(ONE_PROCESS), output_dir=Path("/out"), device=Device(Accelerator.CPU, 1),
        evaluates=False,
    )  # fmt: skip
    expected = {
        "beta": 0.11, "gamma": 0.9, "lam": 0.8, "epsilon": 0.15, "cliprange_value": 0.3, "vf_coef": 0.4,
        "whiten_rewards": True, "temperature": 0.7, "top_p": 0.9, "share_backbone": True, "num_iterations": 3,
        "kl_target": 0.5, "kl_horizon": 20, "missing_eos_penalty": 0.5, "max_completion_length": 8,
        "num_generations": 1, "generation_batch_size": 4, "steps_per_generation": 2, "disable_dropout": True,
    }  # fmt: skip
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("beta", 0.1, "set ppo.klCoefficient instead"),
        ("lam", 0.1, "set ppo.gaeLambda instead"),
        ("vf_coef", 0.1, "set ppo.valueCoefficient instead"),
        ("num_generations", 4, "PPOConfig has no option num_generations"),
        ("use_vllm", True, "remove this option"),
        ("generation_batch_size", 7, "generation_batch_size (7) must be divisible"),
    ],
)
def test_options_that_ppo_refuses(option: str, value: Any, words: str) -> None:
    problems = problems_of(trainerArgs={option: value})
    assert len(problems) == 1
    assert problems[0].startswith("spec.stages[0].trainerArgs")
    assert words in problems[0]


def test_a_single_response_to_each_prompt_is_enough() -> None:
    assert problems_of(training={"globalBatchSize": 1, "microBatchSize": 1}) == []
