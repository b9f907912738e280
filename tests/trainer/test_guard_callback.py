"""Which checkpoints the guard lets be written, and what it remembers of earlier attempts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState

from alignment_api.contract import StageLayout
from alignment_api.v1alpha1 import Method, Stage
from alignment_trainer import history
from alignment_trainer.callbacks.guard import GuardCallback

from .conftest import stage_of

GOOD, BAD = {"loss": 0.5, "rewards/margins": 1.0}, {"loss": 0.5, "rewards/margins": 99.0}
ARGS = SimpleNamespace(device="cpu")


class Loop:
    """The calls that a training loop makes after each step."""

    def __init__(self, **guard: Any) -> None:
        stage = Stage.model_validate(stage_of(Method.DPO, guard={"startCheck": False, **guard}))
        self.guard = GuardCallback(stage, (), 0)
        self.control = TrainerControl()
        self.state = TrainerState()
        self.model = torch.nn.Linear(2, 1)

    def step(self, report: dict[str, float], *, save: bool = False) -> bool:
        """Whether the step is followed by a checkpoint."""
        self.state.global_step += 1
        self.control.should_save, self.control.should_log = save, False
        self.guard.on_step_end(ARGS, self.state, self.control)
        assert self.control.should_log is save, "a checkpoint needs a report to be judged by"
        self.guard.on_log(ARGS, self.state, self.control, logs=dict(report), model=self.model)
        return bool(self.control.should_save)


def test_no_checkpoint_while_in_doubt_and_the_one_that_was_due_afterwards() -> None:
    loop = Loop()
    saved = [loop.step(GOOD, save=True), loop.step(BAD, save=True), loop.step(BAD), loop.step(GOOD), loop.step(GOOD)]
    assert saved == [True, False, False, True, False]
    assert not loop.control.should_training_stop


def test_a_stop_writes_no_checkpoint_and_evaluates_nothing() -> None:
    loop = Loop(patience=2)
    loop.step(BAD)
    loop.control.should_evaluate = True
    assert not loop.step(BAD, save=True)
    assert loop.control.should_training_stop
    assert not loop.control.should_evaluate
    error = loop.guard.error(2, None)
    assert "no checkpoint was written" in error.message
    assert [problem.field for problem in error.problems] == ["spec.stages[dpo].guard.maxRewardMargin"]


@pytest.mark.parametrize("when", ["a checkpoint is due", "one is owed", "the gradient overflowed"])
def test_weights_that_are_not_finite_are_never_saved(when: str) -> None:
    loop = Loop()
    if when == "one is owed":
        loop.step(BAD, save=True)
    with torch.no_grad():
        loop.model.weight[0, 1] = math.nan
    report = GOOD | {"grad_norm": math.inf if when == "the gradient overflowed" else 1.0}
    assert not loop.step(report, save=when == "a checkpoint is due")
    assert loop.guard.finding is not None
    assert "weights are not finite" in loop.guard.finding.message


def test_frozen_and_partitioned_weights() -> None:
    """DeepSpeed leaves an empty tensor in place of a partitioned weight."""
    loop = Loop()
    with torch.no_grad():
        loop.model.bias[0] = math.nan
    loop.model.bias.requires_grad_(requires_grad=False)
    assert loop.step(GOOD, save=True), "what is not trained is not judged"
    loop.model.weight.data = torch.empty(0)
    loop.model.weight.ds_tensor = torch.tensor([1.0, math.inf])
    assert not loop.step(GOOD, save=True)


def test_reports_of_evaluations_are_left_alone() -> None:
    loop = Loop(patience=1)
    loop.step({"eval_loss": math.nan, "eval_rewards/margins": 99.0})
    assert loop.guard.finding is None


def test_history_of_earlier_attempts(tmp_path: Path) -> None:
    stage = StageLayout(tmp_path)
    for attempt, lines in {1: [(1, 5.0), (10, 6.0), (20, 7.0)], 3: [(20, 8.0), (30, 9.0)], 4: [(1, 0.0)]}.items():
        file = stage.attempt(attempt).metrics
        file.parent.mkdir(parents=True)
        entries = [json.dumps({"step": step, "length": value}) for step, value in lines]
        file.write_text("\n".join([*entries, json.dumps({"step": 2, "loss": 1.0}), '{"step": 40, "len']))
    assert history.values_of("length", stage, 3, 20) == [5.0, 6.0, 8.0]
    assert history.values_of("length", stage, 0, 20) == []
