"""Checkpoints of a stage: which are complete, which one to resume from, which to remove.

transformers writes ``checkpoint-<step>`` folders file by file from every rank. Rank 0 adds the completion marker after
all ranks are done; a folder without a marker, or not as its marker says, is never resumed from.
"""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from alignment_api.contract import CheckpointMark, JobLayout, StageLayout

from .completion import Marker, list_files, read_marker, write_marker

_log = logging.getLogger(__name__)
_NAME: Final = re.compile(r"^checkpoint-(\d+)$")


class CheckpointMarker(Marker):
    """Completion marker of a checkpoint."""

    step: Annotated[int, Field(ge=0)]
    tokens: Annotated[int, Field(ge=0)] = Field(description="Tokens trained on up to here, over all attempts.")
    time: datetime


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    folder: Path
    marker: CheckpointMarker

    def mark(self, layout: JobLayout) -> CheckpointMark:
        """The checkpoint as progress and status show it."""
        return CheckpointMark(step=self.marker.step, path=layout.relative(self.folder), time=self.marker.time)


def complete(folder: Path, *, step: int, tokens: int) -> Checkpoint:
    """Make the checkpoint in ``folder`` count; every rank must have finished writing to it."""
    marker = CheckpointMarker(files=list_files(folder), step=step, tokens=tokens, time=datetime.now(UTC))
    write_marker(folder, marker)
    return Checkpoint(folder, marker)


def newest(stage: StageLayout, up_to_attempt: int) -> Checkpoint | None:
    """The complete checkpoint with the most steps among attempts 1 to ``up_to_attempt``; of equals, the latest one."""
    latest_first = range(up_to_attempt, 0, -1)
    folders = [folder for attempt in latest_first for folder in _in(stage.attempt(attempt).checkpoints)]
    for folder in sorted(folders, key=_step, reverse=True):  # stable, so equal steps stay latest first
        marker = read_marker(folder, CheckpointMarker)
        if marker is not None:
            return Checkpoint(folder, marker)
        _log.warning("skipping %s: it has no valid completion marker", folder)
    return None


def rotate(checkpoints: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` complete checkpoints below ``checkpoints``, and incomplete older ones."""
    folders = sorted(_in(checkpoints), key=_step, reverse=True)
    kept = 0
    for folder in folders:
        if kept >= keep:
            shutil.rmtree(folder, ignore_errors=True)
        elif read_marker(folder, CheckpointMarker) is not None:
            kept += 1


def _in(checkpoints: Path) -> list[Path]:
    if not checkpoints.is_dir():
        return []
    return [path for path in checkpoints.iterdir() if _NAME.match(path.name)]


def _step(folder: Path) -> int:
    match = _NAME.match(folder.name)
    return int(match.group(1)) if match else -1
