"""Trainings that go wrong, through the real command line: they end with a verdict and their last good checkpoint."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import Summary
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method
from alignment_trainer.checkpoints import CheckpointMarker, newest
from alignment_trainer.completion import read_marker

from . import tiny
from .conftest import TRAINING, Workspace, stage_of, workspace_in

ONE_PROCESS = {"deepspeed": {"zeroStage": 0}}
STEPS = 12
EVERY_STEP = TRAINING | {"maxSteps": STEPS, "checkpoint": {"everySteps": 1, "keep": 100}}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("guard"), tiny_model) as workspace:
        yield workspace


def change_model(volume: Workspace, name: str, **config: Any) -> dict[str, Any]:
    """A copy of the tiny model with other entries in its config; the stage member that names it."""
    folder = volume.root / "models" / name
    shutil.copytree(volume.root / "models/tiny", folder)
    entries = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(entries))
    return {"volume": {"path": f"models/{name}"}}


def change_weight(volume: Workspace, name: str, weight: str, change: Callable[[Any], None]) -> None:
    """Change a weight of the model ``name`` in its place."""
    from safetensors.torch import load_file, save_file

    file = volume.root / "models" / name / "model.safetensors"
    weights = load_file(file)
    change(weights[weight])
    save_file(weights, file, metadata={"format": "pt"})


def stopped(volume: Workspace, stage: dict[str, Any], runtime: dict[str, Any]) -> Summary:
    """The end of a stage that its guard stops."""
    summary = volume.run(volume.write_job({"runtime": runtime, "stages": [stage]}), stage["name"])
    assert summary.exit_code == ExitCode.STOPPED_BY_GUARD, volume.pods[-1].output.read_text()[-4000:]
    assert not volume.layout.stage(stage["name"]).model.exists(), "nothing is exported"
    return summary


def steps_of_checkpoints(volume: Workspace, stage: str) -> list[int]:
    """Steps of the complete checkpoints of the first attempt."""
    folders = volume.layout.stage(stage).attempt(1).checkpoints.glob("checkpoint-*")
    markers = [read_marker(folder, CheckpointMarker) for folder in folders]
    assert None not in markers, "a checkpoint is left that is not complete"
    return sorted(marker.step for marker in markers if marker is not None)


def test_a_broken_row_in_the_middle_of_a_gang(volume: Workspace) -> None:
    rows = [row | {"margin": 0.5} for row in tiny.preference_rows(4 * STEPS)]
    rows[20]["margin"] = math.nan
    volume.add_stage_data("reward", rows)
    summary = stopped(volume, stage_of(Method.REWARD, training=EVERY_STEP), {"processesPerNode": 2})

    reported = [entry["step"] for entry in volume.metrics("reward") if "loss" in entry]
    assert reported == list(range(1, len(reported) + 1)), "a NaN is no number to report"
    assert 1 <= len(reported) < STEPS, "the broken row is neither in the first batch nor is it left out"
    assert summary.message.startswith(f"stopped by the guard at step {len(reported) + 1}: the loss is nan")
    assert steps_of_checkpoints(volume, "reward") == reported
    assert summary.checkpoint is not None
    assert summary.checkpoint.step == reported[-1]
    assert summary.checkpoint.path in summary.message
    (problem,) = summary.problems
    assert problem.field == "spec.stages[reward].guard"
    assert "broken rows" in problem.message


def test_weights_that_are_not_finite_though_the_loss_still_is(volume: Workspace) -> None:
    """Adam without epsilon divides 0 by 0 for the embeddings of tokens that a batch does not have."""
    volume.add_stage_data("sft", tiny.completion_rows(8))
    stage = stage_of(Method.SFT, training=EVERY_STEP, trainerArgs={"adam_epsilon": 0.0})
    summary = stopped(volume, stage, ONE_PROCESS)
    assert "weights are not finite at step 1" in summary.message
    assert volume.metrics("sft")[0]["loss"] > 0
    assert steps_of_checkpoints(volume, "sft") == []


def test_no_checkpoint_of_the_time_that_patience_took(volume: Workspace) -> None:
    volume.add_stage_data("dpo", tiny.preference_rows(48))
    guard = {"maxRewardMargin": 0.3, "patience": 3}
    summary = stopped(volume, stage_of(Method.DPO, training=EVERY_STEP, guard=guard), ONE_PROCESS)

    margins = {entry["step"]: abs(entry["rewards/margins"]) for entry in volume.metrics("dpo") if "loss" in entry}
    last = max(margins)
    beyond = [step for step, margin in margins.items() if margin > 0.3]
    assert {last - 2, last - 1, last} <= set(beyond), "three reports in a row"
    assert steps_of_checkpoints(volume, "dpo") == [step for step in margins if step not in beyond]
    assert summary.checkpoint is not None
    assert summary.checkpoint.step < last - 2
    assert f"{margins[last]:.4g} at steps {last - 2}, {last - 1}, {last}, above 0.3 (as set)" in summary.message
    (problem,) = summary.problems
    assert problem.field == "spec.stages[dpo].guard.maxRewardMargin"
    resolved = json.loads(volume.layout.stage("dpo").attempt(1).resolved.read_text())
    assert resolved["guard"] == {"startCheck": True, "patience": 3, "maxRewardMargin": 0.3}
    good = newest(volume.layout.stage("dpo"), 1)
    assert good is not None
    assert good.marker.step == summary.checkpoint.step, "what a new attempt would resume from"


def test_a_policy_with_dropout_is_not_its_reference(volume: Workspace) -> None:
    volume.add_stage_data("dropout", tiny.preference_rows(8))
    model = change_model(volume, "dropout", attention_dropout=0.5)
    change_weight(
        volume, "dropout", "lm_head.weight", lambda weight: weight.mul_(30)
    )  # an opinion that dropout changes
    stage = stage_of(
        Method.DPO,
        name="dropout",
        model=model,
        trainerArgs={"disable_dropout": False},
    )
    summary = stopped(volume, stage, ONE_PROCESS)
    assert "at step 1, before the model has changed, where theory says 0 within 0.01" in summary.message
    assert "no checkpoint was written before" in summary.message
    (problem,) = summary.problems
    assert problem.field == "spec.stages[dropout].guard.startCheck"
    assert "dropout" in problem.message

    summary = volume.run(
        volume.write_job({"runtime": ONE_PROCESS, "stages": [stage | {"guard": {"startCheck": False}}]}), "dropout"
    )
    assert summary.exit_code == ExitCode.OK, summary.message


def test_rewards_without_variance(volume: Workspace) -> None:
    volume.add_stage_data("grpo", [{"prompt": row["prompt"]} for row in tiny.preference_rows(48)])
    rewards = [{"name": "any", "length": {"maxTokens": 1000}}]  # 0 for whatever is answered
    stage = stage_of(
        Method.GRPO,
        grpo={"rewards": rewards, "maxCompletionLength": 8, "generations": 2, "beta": 0.04},
        training=TRAINING | {"maxSteps": STEPS, "checkpoint": {"everySteps": 5}},
        guard={"patience": 1},
    )
    summary = stopped(volume, stage, ONE_PROCESS)
    assert "the standard deviation of rewards was 0, 0, 0, 0, 0 at steps 6, 7, 8, 9, 10" in summary.message
    assert summary.checkpoint is not None
    assert summary.checkpoint.step == 5, "weights that learn nothing are not ruined"
    assert all(0 <= entry["completions/repeated_4grams"] < 1 for entry in volume.metrics("grpo"))
