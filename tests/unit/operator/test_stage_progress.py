"""What a gang's answers make of the status of its stage."""

from __future__ import annotations

from datetime import UTC, datetime

from alignment_api.contract import Progress, TrainerPhase
from alignment_api.v1alpha1 import StagePhase, StageStatus
from alignment_operator.status.stages import with_progress

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _answer(attempt: int, phase: TrainerPhase, step: int = 0, total_steps: int = 0) -> Progress:
    return Progress(stage="sft", attempt=attempt, phase=phase, step=step, total_steps=total_steps, updated_at=_NOW)


def _running(attempt: int) -> StageStatus:
    return StageStatus(name="sft", method="sft", phase=StagePhase.RUNNING, attempt=attempt)


def test_a_first_attempt_that_loads_shows_no_steps() -> None:
    assert with_progress(_running(1), _answer(1, TrainerPhase.LOADING)).progress is None


def test_a_later_attempt_that_loads_keeps_the_numbers_of_the_one_before() -> None:
    trained = with_progress(_running(1), _answer(1, TrainerPhase.TRAINING, 40, 100))
    loading = with_progress(trained.model_copy(update={"attempt": 2}), _answer(2, TrainerPhase.LOADING))
    assert loading.progress == trained.progress
    resumed = with_progress(loading, _answer(2, TrainerPhase.TRAINING, 30, 100))
    assert resumed.progress is not None
    assert (resumed.progress.attempt, resumed.progress.step, resumed.progress.percent) == (2, 30, 30)


def test_numbers_never_go_back_within_an_attempt() -> None:
    trained = with_progress(_running(1), _answer(1, TrainerPhase.TRAINING, 40, 100))
    assert with_progress(trained, _answer(1, TrainerPhase.TRAINING, 39, 100)) == trained
