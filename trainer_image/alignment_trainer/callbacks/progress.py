"""Steps, tokens, speed and metrics of a training stage -> Reporter.

Speed and the estimated end are computed here, from the step this attempt began at: transformers counts a resumed run's
earlier steps as if they had taken no time.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from transformers import TrainerCallback

from alignment_api.contract import TrainerPhase

from .. import trl_imports
from ..files import write_atomically
from ..reporter import WRITE_INTERVAL, Reporter
from ..run_files import RunFiles, StepTime

_NOT_METRICS: Final = frozenset(
    {
        "epoch",
        "num_tokens",
        "step",
        "total_flos",
        "train_loss",
        "train_runtime",
        "train_samples_per_second",
        "train_steps_per_second",
        "eval_num_tokens",
        "eval_runtime",
        "eval_samples_per_second",
        "eval_steps_per_second",
    }
)
"""Numbers among transformers' logs that Progress has fields for, or that are wrong after a resume."""

_STEPS_REMEMBERED: Final = 128
"""Online methods generate in one step and learn from that in up to a hundred, which are much shorter."""


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Follows training and reports it; must come after those that ask for something, to see it.

    Args:
        reporter: where to.
        files: run folder, for the duration of steps.
        clock: monotonic seconds.
    """

    def __init__(self, reporter: Reporter, files: RunFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self.trainer: Any = None
        self._reporter = reporter
        self._files = files
        self._clock = clock
        self._began_at_time = 0.0
        self._began_at_step = 0
        self._began_at_tokens = 0
        self._last_step_time = 0.0
        self._step_times: deque[float] = deque(maxlen=_STEPS_REMEMBERED)
        self._step_time_written = -math.inf

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began_at_time = self._last_step_time = self._clock()
        self._began_at_step = state.global_step
        self._began_at_tokens = trl_imports.trained_tokens(self.trainer)
        self._reporter.update(
            important=True,
            phase=TrainerPhase.TRAINING,
            step=state.global_step,
            total_steps=state.max_steps,
            tokens=self._began_at_tokens,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = self._clock()
        tokens = trl_imports.trained_tokens(self.trainer)
        elapsed = max(now - self._began_at_time, 1e-9)
        steps = state.global_step - self._began_at_step
        self._reporter.update(
            step=state.global_step,
            epoch=state.epoch,
            tokens=tokens,
            tokens_per_second=(tokens - self._began_at_tokens) / elapsed,
            eta_seconds=round(elapsed / steps * (state.max_steps - state.global_step)),
        )
        if control.should_evaluate or control.should_save:
            self._reporter.phase(_next_phase(control))
        self._step_times.append(now - self._last_step_time)
        # Only long steps matter to the supervisor, which allows seconds anyway.
        if args.local_process_index == 0 and now - self._step_time_written >= WRITE_INTERVAL:
            text = StepTime(seconds=max(self._step_times)).model_dump_json()
            write_atomically(self._files.step_time, text)
            self._step_time_written = now
        self._last_step_time = now

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        values = {name: value for name, value in (logs or {}).items() if name not in _NOT_METRICS}
        if "loss" in values:  # what the guard saw in them may have called a checkpoint off, or for one
            self._reporter.metrics(values, step=state.global_step, phase=_next_phase(control))
        elif values:
            self._reporter.metrics(values, step=state.global_step)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._reporter.phase(TrainerPhase.CHECKPOINTING if control.should_save else TrainerPhase.TRAINING)
        self._last_step_time = self._clock()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not control.should_training_stop:  # else the next phase is the export, or the end of a preempted process
            self._reporter.phase(TrainerPhase.TRAINING)
        self._last_step_time = self._clock()


def _next_phase(control: Any) -> TrainerPhase:
    """What the process does once a step is reported."""
    if control.should_evaluate:
        return TrainerPhase.EVALUATING
    return TrainerPhase.CHECKPOINTING if control.should_save else TrainerPhase.TRAINING
