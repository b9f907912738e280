"""How long a Pod that was told to stop waits for its training processes.

Before the first step, and once the model is being exported, there is nothing a checkpoint would save: the processes are
ended at once (the last checkpoint holds the last step). Otherwise they need up to the end of the current step to agree,
then as long as the checkpoint takes; the Pod's grace period bounds that. A step that does not end means that peers are
gone: the Job controller stops a whole gang when one of its Pods has failed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from alignment_api.contract import TrainerPhase

from ..run_files import RunFiles

_log = logging.getLogger(__name__)
MIN_STEP_WAIT: Final = 5.0
"""Seconds allowed for agreeing on a step, however short steps are."""
STEPS_TO_WAIT: Final = 2.0
"""Durations of a recent step allowed: the peers may be asked during the step after this Pod's."""

_NOTHING_TO_SAVE: Final = frozenset({TrainerPhase.LOADING, TrainerPhase.EXPORTING, TrainerPhase.FINISHED})


class StopWatch:
    """Decides when the training processes have had their time.

    Args:
        files: run folder.
        clock: monotonic seconds.
    """

    def __init__(self, files: RunFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._since: float | None = None

    @property
    def requested(self) -> bool:
        return self._since is not None

    def request(self) -> None:
        """Ask the gang to stop."""
        if self._since is None:
            self._since = self._clock()
            self._files.stop_request.touch()

    def is_over(self) -> bool:
        """Whether to end the processes now."""
        if self._since is None:
            return False
        phase = self._files.read_progress().phase
        if phase is TrainerPhase.CHECKPOINTING:
            return False
        if phase in _NOTHING_TO_SAVE:
            return True
        return self._clock() - self._since > MIN_STEP_WAIT + STEPS_TO_WAIT * self._files.read_step_seconds()

    def why(self) -> str:
        """Words for the log."""
        return f"phase {self._files.read_progress().phase}, steps took up to {self._files.read_step_seconds():.1f} s"
