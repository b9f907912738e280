"""Makes the checkpoints that transformers writes complete, and removes old ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from alignment_api.contract import CheckpointMark, JobLayout

from .. import checkpoints, trl_imports
from ..reporter import Reporter


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Marks each saved checkpoint complete once every rank has written its part.

    Attributes:
        latest: the newest complete checkpoint, on rank 0.

    Args:
        reporter: told about complete checkpoints.
        layout: the job's folders.
        keep: complete checkpoints to keep.
        latest: the checkpoint this attempt resumed from.
    """

    def __init__(self, reporter: Reporter, layout: JobLayout, keep: int, latest: CheckpointMark | None) -> None:
        self.trainer: Any = None
        self.latest = latest
        self._reporter = reporter
        self._layout = layout
        self._keep = keep

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            root = Path(args.output_dir)
            saved = checkpoints.complete(
                root / f"checkpoint-{state.global_step}",
                step=state.global_step,
                tokens=trl_imports.trained_tokens(self.trainer),
            )
            self.latest = saved.mark(self._layout)
            self._reporter.checkpoint(self.latest)
            checkpoints.rotate(root, self._keep)
