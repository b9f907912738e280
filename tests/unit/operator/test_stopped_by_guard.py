"""A stage that its guard, or a user's reward function, has ended: what the job says, and that nothing is retried."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alignment_api.conditions import ConditionType, Reason
from alignment_api.contract import CheckpointMark, Problem, Progress, Summary, TrainerPhase
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import JobPhase, StagePhase

from .scene import Scene

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_LAST_GOOD = CheckpointMark(step=20, path="jobs/team-a/x/sft/attempts/1/checkpoints/checkpoint-20", time=_NOW)
_WORDS = "stopped by the guard at step 30: the loss is nan at step 30; the last good checkpoint, of step 20, is kept"
_WAY_OUT = Problem(field="spec.stages[sft].guard", message="lower training.learningRate")


def guard_summary() -> Summary:
    progress = Progress(
        stage="sft",
        attempt=1,
        phase=TrainerPhase.TRAINING,
        step=30,
        total_steps=100,
        metrics={"grad_norm": 9.0},
        checkpoint=_LAST_GOOD,
        updated_at=_NOW,
    )
    return Summary(
        exit_code=ExitCode.STOPPED_BY_GUARD,
        message=_WORDS,
        problems=[_WAY_OUT],
        progress=progress,
        checkpoint=_LAST_GOOD,
    )


@pytest.fixture
def stopped() -> Scene:
    """A job whose first gang was stopped by the guard before its progress was ever asked for."""
    scene = Scene()
    scene.until_first_gang()
    scene.run_pods()
    scene.reconcile()
    scene.end("-sft-", ExitCode.STOPPED_BY_GUARD, guard_summary())
    return scene


def test_the_job_fails_and_says_why(stopped: Scene) -> None:
    decided = stopped.reconcile()
    assert stopped.status.phase is JobPhase.FAILED
    failed = stopped.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == ("True", Reason.STOPPED_BY_GUARD)
    assert failed.message == f"stage sft: {_WORDS}\n{_WAY_OUT}"
    assert stopped.condition(ConditionType.READY).status == "False"
    assert stopped.condition(ConditionType.STALLED).reason == Reason.STOPPED_BY_GUARD
    told = [event for event in decided.events if event.reason == Reason.STOPPED_BY_GUARD]
    assert told
    assert all(event.type == "Warning" and _WORDS in event.message for event in told)


def test_the_stage_keeps_its_last_good_checkpoint_and_numbers(stopped: Scene) -> None:
    stopped.reconcile()
    stage = stopped.stage("sft")
    assert (stage.phase, stage.reason) == (StagePhase.FAILED, Reason.STOPPED_BY_GUARD)
    assert stage.checkpoint is not None
    assert (stage.checkpoint.step, stage.checkpoint.path) == (20, _LAST_GOOD.path)
    assert stage.progress is not None
    assert stage.progress.step == 30
    assert stage.model is None
    assert (stage.failures or [])[-1].exit_code == ExitCode.STOPPED_BY_GUARD


@pytest.mark.parametrize("code", [ExitCode.STOPPED_BY_GUARD, ExitCode.FUNCTION_ERROR])
def test_nothing_is_tried_again(code: ExitCode) -> None:
    scene = Scene()
    scene.until_first_gang()
    scene.run_pods()
    scene.end("-sft-", code, Summary(exit_code=code, message="the reward length raised ValueError"))
    scene.reconcile()
    assert scene.reconcile().apply == ()
    assert (scene.status.restarts or 0, scene.stage("sft").attempt) == (0, 1)
    assert {scene.stage(name).phase for name in ("reward", "dpo", "check")} == {StagePhase.SKIPPED}
