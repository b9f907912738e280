"""Stops the gang at a step boundary that all ranks agree on, with a checkpoint.

The request to stop reaches each Pod at another moment. Ranks that acted on it alone would leave the others waiting in a
collective, so after each step every rank learns whether any has been asked.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from .. import distributed
from ..run_files import RunFiles


class PreemptionCallback(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint and the end of training once any Pod of the gang was told to stop.

    Attributes:
        preempted: whether training was ended this way.
    """

    def __init__(self, files: RunFiles) -> None:
        self.preempted = False
        self._files = files

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        asked = distributed.greatest(self._files.stop_request.exists(), args.device)
        if asked and state.global_step < state.max_steps:
            self.preempted = True
            control.should_log = control.should_save = control.should_training_stop = True
