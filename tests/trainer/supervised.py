"""Small real children under the supervisor's process handling, in the test's own process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import UTC, datetime

from alignment_api.contract import Progress, Summary, TrainerPhase
from alignment_trainer.launch.ending import ChildEnd, summarize
from alignment_trainer.launch.masking import Mask
from alignment_trainer.launch.stopping import StopWatch
from alignment_trainer.launch.supervisor import run_child
from alignment_trainer.run_files import RUN_FOLDER_VARIABLE, RunFiles


def progress(phase: TrainerPhase) -> Progress:
    """Progress in ``phase``."""
    return Progress(stage="dpo", attempt=1, phase=phase, step=3, metrics={"loss": 0.5}, updated_at=datetime.now(UTC))


def python(code: str) -> list[str]:
    """The command that runs ``code``."""
    return [sys.executable, "-c", code]


def supervised(command: list[str], files: RunFiles, *, saves: bool = True, **variables: str) -> ChildEnd:
    """Run ``command`` as the launcher of a Pod."""
    environment = {**os.environ, RUN_FOLDER_VARIABLE: str(files.root), **variables}
    stop = StopWatch(files, saves=saves)
    with stop.heeding_signals():
        return run_child(command, environment, files, stop, Mask.of(variables))


def run(code: str, files: RunFiles) -> Summary:
    """The Summary of a Pod whose launcher is ``code``."""
    return summarize(supervised(python(code), files), files.read_progress())


def terminate_soon(seconds: float = 0.5) -> None:
    """Send this process SIGTERM, as the kubelet does."""
    threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
