"""The folder on the Pod's own disk through which supervisor and training processes talk."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from alignment_api.contract import CheckpointMark, Problem, Progress
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import CandidateStatus, GateStatus, ModelStatus

from .files import write_atomically

RUN_FOLDER_VARIABLE: Final = "ALIGNMENT_RUN_FOLDER"

WAITING_FOR_STACKS: Final = "wait_for_stacks"
"""Name of the function in which a process waits until its peers' stacks are taken."""

_PR_SET_PTRACER: Final = 0x59616D61
_STACKS_PATIENCE: Final = 15.0
_POLL_SECONDS: Final = 0.05


class Outcome(BaseModel):
    """How one training process ended, written by itself."""

    model_config = ConfigDict(frozen=True)

    rank: int
    exit_code: ExitCode
    time: float = Field(description="Seconds since the epoch; the first failure of a gang is the cause of the others.")
    message: str = ""
    problems: list[Problem] = Field(default_factory=list)
    checkpoint: CheckpointMark | None = None
    model: ModelStatus | None = None
    gates: list[GateStatus] | None = None
    candidates: list[CandidateStatus] | None = None


class StepTime(BaseModel):
    """How long the longest of the recent optimizer steps took; the supervisor waits no longer than a few of them."""

    seconds: Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class RunFiles:
    """Paths below the folder ``root``."""

    root: Path

    @classmethod
    def of_this_process(cls) -> RunFiles:
        """The folder that the supervisor made for this training process."""
        return cls(Path(os.environ[RUN_FOLDER_VARIABLE]))

    @property
    def accelerate_config(self) -> Path:
        return self.root / "accelerate.json"

    @property
    def deepspeed_config(self) -> Path:
        return self.root / "deepspeed.json"

    @property
    def progress(self) -> Path:
        """The Progress of this Pod's first process."""
        return self.root / "progress.json"

    @property
    def step_time(self) -> Path:
        return self.root / "step-time.json"

    @property
    def stop_request(self) -> Path:
        """Exists once the Pod has been told to stop: the gang checkpoints at the next step and ends."""
        return self.root / "stop"

    @property
    def supervisor(self) -> Path:
        """The supervisor's process number."""
        return self.root / "supervisor"

    @property
    def stacks_request(self) -> Path:
        """Exists once a process has waited for a collective in vain: the others are to be looked at."""
        return self.root / "stacks-wanted"

    @property
    def stacks_taken(self) -> Path:
        """Exists once the supervisor has looked at all processes."""
        return self.root / "stacks-taken"

    def own_stacks(self, rank: int | str) -> Path:
        """Where a process writes its stacks when it gets SIGUSR1."""
        return self.root / f"own-stacks-{rank}.txt"

    def enlist(self, rank: int) -> None:
        """Make this process, a training process, known to the supervisor, and let that look into it."""
        supervisor = int(self.supervisor.read_text())
        # Refused where the kernel has no Yama, which is where nobody needs to be named.
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, supervisor, 0, 0, 0)
        # The file stays open as long as the process; a closed one would be another file's number when it is needed.
        faulthandler.register(signal.SIGUSR1, file=self.own_stacks(rank).open("w"))
        write_atomically(self.root / f"process-{rank}", str(os.getpid()))

    def enlisted(self) -> dict[int, int]:
        """Process numbers of the training processes, by rank."""
        return {int(path.name.partition("-")[2]): int(path.read_text()) for path in self.root.glob("process-*")}

    def wait_for_stacks(self) -> None:
        """Ask the supervisor to look at this Pod's processes, and wait until it has, or for a while."""
        self.stacks_request.touch()
        deadline = time.monotonic() + _STACKS_PATIENCE
        while not self.stacks_taken.exists() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def outcome(self, rank: int) -> Path:
        return self.root / f"outcome-{rank}.json"

    def write_progress(self, progress: Progress) -> None:
        """Publish ``progress``."""
        write_atomically(self.progress, progress.model_dump_json(by_alias=True, exclude_none=True))

    def read_progress(self) -> Progress:
        """The progress last published."""
        return Progress.model_validate_json(self.progress.read_bytes())

    def write_outcome(self, outcome: Outcome) -> None:
        """Publish how a process ended."""
        write_atomically(self.outcome(outcome.rank), outcome.model_dump_json())

    def read_outcomes(self) -> list[Outcome]:
        """The outcomes of this Pod's processes, first to end first."""
        outcomes = [Outcome.model_validate_json(path.read_bytes()) for path in self.root.glob("outcome-*.json")]
        return sorted(outcomes, key=lambda outcome: outcome.time)

    def read_step_seconds(self) -> float:
        """Duration of a recent optimizer step; 0 before the first."""
        try:
            return StepTime.model_validate_json(self.step_time.read_bytes()).seconds
        except OSError:
            return 0.0
