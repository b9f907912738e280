"""Makes the checkpoints that transformers writes complete, and removes old ones."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback

from alignment_api.contract import CheckpointMark, JobLayout

from .. import checkpoints, gang_digests, trl_imports
from ..attempt import Attempt
from ..checkpoints import Checkpoint
from ..reporter import Reporter


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Marks each saved checkpoint complete once every rank has written its part.

    Attributes:
        latest: the newest complete checkpoint, on rank 0.

    Args:
        reporter: told about complete checkpoints.
        layout: the job's folders.
        attempt: the attempt that writes them.
        keep: complete checkpoints of the stage to keep.
        latest: the checkpoint this attempt resumed from.
        damaged: checkpoints that were found damaged then.
    """

    def __init__(
        self,
        reporter: Reporter,
        layout: JobLayout,
        attempt: Attempt,
        keep: int,
        latest: Checkpoint | None,
        damaged: Collection[Path],
    ) -> None:
        self.trainer: Any = None
        self.latest = latest
        self._reporter = reporter
        self._layout = layout
        self._attempt = attempt
        self._keep = keep
        self._damaged = damaged
        self._bytes = latest.marker.size if latest else None

    @property
    def latest_mark(self) -> CheckpointMark | None:
        """The newest complete checkpoint as progress and status show it."""
        return self.latest.mark(self._layout) if self.latest else None

    def bytes_needed(self) -> int | None:
        """About what the next checkpoint takes; None before the first. Every rank knows it."""
        return self._bytes

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        process = PartialState()
        process.wait_for_everyone()
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        files = gang_digests.entries_in(folder, process)
        self._bytes = sum(entry.size for entry in files.values())
        if state.is_world_process_zero:
            self.latest = checkpoints.complete(
                folder,
                files,
                step=state.global_step,
                tokens=trl_imports.trained_tokens(self.trainer),
                processes=process.num_processes,
            )
            self._reporter.checkpoint(self.latest.mark(self._layout))
            self.rotate(self._keep)

    def rotate(self, keep: int) -> None:
        """Remove all but the newest ``keep`` checkpoints of the stage."""
        checkpoints.rotate(self._layout.stage(self._attempt.stage), self._attempt.number, keep, self._damaged)
