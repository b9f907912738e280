"""How long a Pod that was told to stop waits for its training processes.

Before the first step, and once the model is being exported, there is nothing a checkpoint would save: the processes are
ended at once (the last checkpoint holds the last step). Otherwise they need up to the end of the current step to agree,
then as long as the checkpoint takes. A step that does not end means that peers are gone, or that a process hangs: the
Job controller stops a whole gang when one of its Pods has failed, and the operator one that does not get on.

Whatever the processes do, they are ended early enough before the grace period is over for the Pod to take their stacks,
to keep its evidence and to say how it ended.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from alignment_api.contract import GANG_GRACE_SECONDS, TrainerPhase

from ..run_files import RunFiles

_log = logging.getLogger(__name__)
MIN_STEP_WAIT: Final = 5.0
"""Seconds allowed for agreeing on a step, however short steps are."""
STEPS_TO_WAIT: Final = 2.0
"""Durations of a recent step allowed: the peers may be asked during the step after this Pod's."""

LAST_WORDS_SECONDS: Final = 35.0
"""What is left of the grace period: taking stacks, killing, draining the output and keeping evidence are each bounded,
and take 10, 5, 2 and 10 seconds at most."""

MAX_WAIT: Final = GANG_GRACE_SECONDS - LAST_WORDS_SECONDS
"""Seconds that a checkpoint may take after the Pod was told to stop."""

_NOTHING_TO_SAVE: Final = frozenset({TrainerPhase.LOADING, TrainerPhase.EXPORTING, TrainerPhase.FINISHED})


class StopWatch:
    """Decides when the training processes have had their time.

    Args:
        files: run folder.
        saves: whether there are checkpoints at all.
        clock: monotonic seconds.
    """

    def __init__(self, files: RunFiles, *, saves: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._saves = saves
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

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for requests, and ignore them afterwards: then the Pod only says how it ended."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            signal.signal(number, lambda *_: self.request())
        try:
            yield
        finally:
            for number in numbers:
                signal.signal(number, signal.SIG_IGN)

    def is_over(self) -> bool:
        """Whether to end the processes now."""
        if self._since is None:
            return False
        waited = self._clock() - self._since
        phase = self._files.read_progress().phase
        if waited > MAX_WAIT or phase in _NOTHING_TO_SAVE or not self._saves:
            return True
        if phase is TrainerPhase.CHECKPOINTING:
            return False
        return waited > MIN_STEP_WAIT + STEPS_TO_WAIT * self._files.read_step_seconds()

    def why(self) -> str:
        """Words for the log."""
        return f"phase {self._files.read_progress().phase}, steps took up to {self._files.read_step_seconds():.1f} s"
