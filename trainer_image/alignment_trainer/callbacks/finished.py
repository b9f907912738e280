"""Keeps a run that resumes from its last step from training one more.

An attempt can be cut off after the last checkpoint and before the export. transformers then loads that checkpoint and
makes a further step before it looks whether any is left (``Trainer._run_epoch`` compares after a step, never before).
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback


class NothingLeftToTrain(Exception):
    """The checkpoint that was loaded holds the last step."""


class FinishedCallback(TrainerCallback):  # type: ignore[misc]
    """Leaves ``Trainer.train`` once the checkpoint is loaded if it holds the last step.

    Must be the last callback, since the others are not called after it.

    Raises:
        NothingLeftToTrain: model and optimizer are as they were after the last step.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            raise NothingLeftToTrain
