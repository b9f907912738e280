"""Tells the supervisor, and through it the operator, how far the stage is."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import CheckpointMark, Progress, TrainerPhase, is_metric_name

from . import storage
from .run_files import RunFiles

MAX_METRICS: Final = 64
WRITE_INTERVAL: Final = 1.0
"""Seconds between two writes of unimportant changes."""


class Reporter:
    """Holds the latest Progress and publishes it to this Pod's run folder.

    Args:
        files: run folder; None on processes that report nothing.
        stage: name of the stage.
        attempt: number of the attempt.
        history: JSON Lines file that gets every set of metrics; None on all but rank 0.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        files: RunFiles | None,
        stage: str,
        attempt: int,
        history: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._history = history
        self._clock = clock
        self._written = -math.inf
        self.progress = Progress(stage=stage, attempt=attempt, phase=TrainerPhase.LOADING, updated_at=datetime.now(UTC))

    def update(self, *, important: bool = False, **changes: Any) -> None:
        """Change fields of the progress; important changes are published at once, others once a second.

        Args:
            important: publish now.
            changes: fields of Progress.
        """
        now = self._clock()
        due = important or now - self._written >= WRITE_INTERVAL
        if due:
            changes["updated_at"] = datetime.now(UTC)
        self.progress = self.progress.model_copy(update=changes)
        if due and self._files is not None:
            self._files.write_progress(self.progress)
            self._written = now

    def phase(self, phase: TrainerPhase) -> None:
        """Say what the process is doing now."""
        self.update(important=True, phase=phase)

    def checkpoint(self, mark: CheckpointMark) -> None:
        """Say that a checkpoint is complete."""
        self.update(important=True, checkpoint=mark)

    def metrics(self, values: Mapping[str, Any], **changes: Any) -> None:
        """Publish the latest metrics and add them to the history.

        A value that is not finite removes its metric: an old number must not stand for a NaN.
        """
        merged = {**self.progress.metrics, **values}
        finite = {
            name: float(value)
            for name, value in merged.items()
            if isinstance(value, int | float) and math.isfinite(value) and is_metric_name(name)
        }
        self.update(important=True, metrics=dict(list(finite.items())[:MAX_METRICS]), **changes)
        if self._history is not None:
            line = {"time": self.progress.updated_at.isoformat(), "step": self.progress.step}
            line |= {name: finite[name] for name in values if name in finite}
            with storage.explained(self._history), self._history.open("a") as file:
                file.write(json.dumps(line) + "\n")
