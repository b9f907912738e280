"""Looks at every report of a training, and ends one that ruins its model before it writes another checkpoint.

A checkpoint counts as good if the report of its own step was: while a quantity is beyond its threshold none is written,
and the one that was due is made up for at the next good report. Every checkpoint of a guarded stage can therefore be
resumed from, and the newest is the last good one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback

from alignment_api.contract import CheckpointMark, Problem
from alignment_api.v1alpha1 import ONLINE_METHODS, Stage

from .. import distributed, trl_imports
from ..exceptions import GuardError
from ..guard import start
from ..guard.checks import Finding, Verdict, Watch, not_finite
from ..guard.readings import REPETITION_METRIC, repetition
from ..guard.thresholds import guard_of, thresholds_of

_RESPONSES: Final = 64
"""Responses of a report that are searched for repetition."""


class GuardCallback(TrainerCallback):  # type: ignore[misc]
    """Asks for the end of training once the numbers say that it ruins the model.

    Must come before those that save or report, to be seen by them, and after those that ask for checkpoints.

    Attributes:
        finding: why training was ended; None if it was not. The same on every process.

    Args:
        stage: the stage.
        first_lengths: mean response lengths of its first reports, if it goes on from a checkpoint.
        resumed_at: the step it goes on from; 0 at its start.
    """

    def __init__(self, stage: Stage, first_lengths: Sequence[float], resumed_at: int) -> None:
        self.trainer: Any = None
        self.finding: Finding | None = None
        self._stage = stage
        self._watch = Watch(thresholds_of(stage), first_lengths)
        self._checks_start = guard_of(stage).start_check and resumed_at == 0
        self._owes_a_checkpoint = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_save:
            control.should_log = True  # the report that the checkpoint is judged by

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, Any] | None = None,
        model: torch.nn.Module | None = None,
        **_: Any,
    ) -> None:
        if logs is None or "loss" not in logs:  # of an evaluation, or of the whole run
            return
        if self._stage.method in ONLINE_METHODS:
            self._add_repetition(logs)
        verdict, finding = self._watch.look(state.global_step, logs)
        if finding is None and self._checks_start and state.global_step == 1:
            finding = self._look_at_start(logs)
        saves = control.should_save or self._owes_a_checkpoint
        if finding is None and (saves or not _is_finite(logs.get("grad_norm"))):
            finding = _look_at_weights(model, state.global_step)
        worst = distributed.greatest(Verdict.STOP if finding else verdict, args.device)
        if worst == Verdict.STOP:
            self.finding = next(found for found in gather_object([finding]) if found is not None)
            control.should_training_stop = True
            control.should_save = control.should_evaluate = False
        elif worst == Verdict.DOUBTFUL:
            self._owes_a_checkpoint |= control.should_save
            control.should_save = False
        elif self._owes_a_checkpoint:
            control.should_save, self._owes_a_checkpoint = True, False

    def error(self, step: int, last_good: CheckpointMark | None) -> GuardError:
        """The error that ends the stage.

        Args:
            step: steps done.
            last_good: the newest complete checkpoint.
        """
        if self.finding is None:
            raise ValueError("the guard has not ended the training")
        kept = (
            f"the last good checkpoint, of step {last_good.step}, is kept: {last_good.path}"
            if last_good
            else "no checkpoint was written before"
        )
        field = f"spec.stages[{self._stage.name}].guard" + (f".{self.finding.field}" if self.finding.field else "")
        problem = Problem(field=field, message=self.finding.advice)
        return GuardError(f"stopped by the guard at step {step}: {self.finding.message}; {kept}", [problem])

    def _look_at_start(self, logs: dict[str, Any]) -> Finding | None:
        vocabulary = self.trainer.model.config.get_text_config().vocab_size
        expected = start.expectations(self._stage, self.trainer.args, vocabulary)
        return start.unexpected(expected, 1, logs)

    def _add_repetition(self, logs: dict[str, Any]) -> None:
        texts = trl_imports.sampled_responses(self.trainer)[-_RESPONSES:]
        if texts:
            ids = self.trainer.processing_class(texts, add_special_tokens=False)["input_ids"]
            share = repetition(ids)
            if share is not None:
                logs[REPETITION_METRIC] = share


def _look_at_weights(model: torch.nn.Module | None, step: int) -> Finding | None:
    """The finding that a trained weight of this process is not finite.

    The loss of a step is that of the weights before it: a gradient that overflowed shows in the weights first.
    """
    if model is None:
        return None
    # DeepSpeed leaves an empty tensor in place of a partitioned weight, and the process's part of it in ds_tensor.
    parts = (getattr(weight, "ds_tensor", weight) for weight in model.parameters() if weight.requires_grad)
    sums = [part.detach().sum(dtype=torch.float32) for part in parts]
    if not sums or bool(torch.stack(sums).isfinite().all()):
        return None
    return not_finite("weights are not finite", step)


def _is_finite(value: float | None) -> bool:
    return value is None or bool(torch.tensor(value).isfinite())
