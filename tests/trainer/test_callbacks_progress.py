"""What the supervisor learns of the length of steps, and how long it therefore waits for one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alignment_api.contract import TrainerPhase
from alignment_trainer.callbacks.progress import ProgressCallback
from alignment_trainer.launch.stopping import MIN_STEP_WAIT, STEPS_TO_WAIT, StopWatch
from alignment_trainer.reporter import Reporter
from alignment_trainer.run_files import RunFiles


def test_a_step_that_generates_is_waited_for_after_steps_that_do_not(tmp_path: Path) -> None:
    files, now = RunFiles(tmp_path), [0.0]
    progress = ProgressCallback(Reporter(files, "grpo", 1), files, clock=lambda: now[0])
    progress.trainer = SimpleNamespace(_total_train_tokens=0)
    state, control = SimpleNamespace(global_step=0, max_steps=100, epoch=0.0), SimpleNamespace()
    control.should_evaluate = control.should_save = False
    arguments: Any = SimpleNamespace(local_process_index=0)
    progress.on_train_begin(arguments, state, control)
    for seconds in (30.0, 2.0, 2.0, 2.0):
        now[0] += seconds
        state.global_step += 1
        progress.on_step_end(arguments, state, control)
    assert files.read_progress().phase is TrainerPhase.TRAINING

    stop = StopWatch(files, clock=lambda: now[0])
    stop.request()
    now[0] += MIN_STEP_WAIT + STEPS_TO_WAIT * 30
    assert not stop.is_over()
    now[0] += 1
    assert stop.is_over()
