"""RLOO with LoRA by the real command line: like plain TRL, and resumed like uninterrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alignment_api.v1alpha1 import Method

from .conftest import Workspace, workspace_in
from .method_checks import PLAIN, check_finished, check_generates, check_resumed, check_same_metrics
from .method_runs import LORA, STEPS, StageRun, cut_off_and_resume, plain_history, run_stage
from .plain_rewards import FUNCTIONS, REWARDS, WEIGHTS, prompt_rows


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("rloo"), tiny_model) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def rloo(volume: Workspace) -> StageRun:
    return run_stage(
        volume,
        Method.RLOO,
        prompt_rows(8),
        adapter=LORA,
        rloo={"generations": 2, "maxCompletionLength": 12, "rewards": REWARDS},
    )


def test_lora(rloo: StageRun) -> None:
    check_finished(rloo)
    check_generates(rloo)
    assert rloo.history[1]["kl"] == pytest.approx(0, abs=1e-6), "the reference is the base under the adapter"
    assert rloo.history[1]["clip_ratio/region_mean"] == 0
    assert abs(rloo.history[STEPS]["kl"]) > 1e-6


def test_equals_a_plain_trl_script(rloo: StageRun, tmp_path: Path) -> None:
    options = {
        "num_generations": 2,
        "max_completion_length": 12,
        "beta": 0.05,
        "reward_weights": WEIGHTS,
        "disable_dropout": True,
    }
    lora = {"r": 4, "lora_alpha": 32, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    plain = plain_history(rloo, options, tmp_path, lora=lora, rewards=FUNCTIONS)
    check_same_metrics(rloo.history, plain, rel=PLAIN)


def test_resumed_equals_uninterrupted(rloo: StageRun) -> None:
    check_resumed(rloo, cut_off_and_resume(rloo))
