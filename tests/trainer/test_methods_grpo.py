"""GRPO by the real command line: like plain TRL, resumed like uninterrupted, with and without a reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alignment_api.v1alpha1 import Method

from .conftest import Workspace, workspace_in
from .method_checks import PLAIN, check_generates, check_resumed, check_same_metrics
from .method_runs import StageRun, cut_off_and_resume, plain_history, run_stage
from .plain_rewards import FUNCTIONS, REWARDS, WEIGHTS, prompt_rows

STEPS = 10
CUT_OFF = 7
"""In the second epoch, between two passes over the same responses, when the reference has moved twice."""


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("grpo"), tiny_model) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def grpo(volume: Workspace) -> StageRun:
    rows = prompt_rows(8)
    return run_stage(
        volume,
        Method.GRPO,
        rows[2:],
        held_out=rows[:2],
        training={"globalBatchSize": 8, "maxSteps": STEPS, "checkpoint": {"everySteps": CUT_OFF, "keep": 2}},
        grpo={
            "generations": 4,
            "maxCompletionLength": 12,
            "beta": 0.1,
            "syncReference": {"everySteps": 3, "mixup": 0.6},
            "iterations": 2,
            "rewards": REWARDS,
        },
    )


def test_all_weights(grpo: StageRun) -> None:
    check_generates(grpo)
    first = grpo.history[1]
    assert first["loss"] == pytest.approx(0, abs=1e-6)
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert first["clip_ratio/region_mean"] == 0
    assert "eval_reward" in grpo.workspace.metrics(grpo.name)[-1]
    assert grpo.history[2]["kl"] > 0, "the second pass over the same responses is of another policy"


def test_equals_a_plain_trl_script(grpo: StageRun, tmp_path: Path) -> None:
    options = {
        "max_steps": STEPS,
        "gradient_accumulation_steps": 2,
        "num_generations": 4,
        "max_completion_length": 12,
        "beta": 0.1,
        "sync_ref_model": True,
        "ref_model_sync_steps": 3,
        "ref_model_mixup_alpha": 0.6,
        "num_iterations": 2,
        "reward_weights": WEIGHTS,
        "disable_dropout": True,
    }
    deepspeed = {"zero_stage": 3, "gradient_accumulation_steps": 2, "gradient_clipping": 1.0}
    plain = plain_history(grpo, options, tmp_path, deepspeed=deepspeed, rewards=FUNCTIONS)
    check_same_metrics(grpo.history, plain, rel=PLAIN)
    assert grpo.summary.progress is not None
    assert grpo.summary.progress.tokens == plain[STEPS - 1]["num_tokens"], "counted when responses are generated"


def test_resumed_equals_uninterrupted(grpo: StageRun) -> None:
    check_resumed(grpo, cut_off_and_resume(grpo, CUT_OFF), CUT_OFF)
