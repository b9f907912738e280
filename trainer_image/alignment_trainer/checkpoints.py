"""Checkpoints of a stage on its volume: which are complete, which are the best to resume from, which to remove.

transformers writes ``checkpoint-<step>`` folders file by file from every rank. Rank 0 adds the completion marker after
all ranks are done; a folder without a marker was never complete. An attempt changes only folders of attempts up to its
own, so a gang that was cut off and lives on can take nothing from the one that replaced it.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from alignment_api.contract import AttemptLayout, CheckpointMark, JobLayout, StageLayout
from alignment_api.contract.layout import COMPLETION_MARKER

from .completion import FileEntry, Marker, NotComplete, glance_at, has_marker, read_marker, write_marker

_log = logging.getLogger(__name__)
_NAME: Final = re.compile(r"^checkpoint-(\d+)$")


class CheckpointMarker(Marker):
    """Completion marker of a checkpoint."""

    step: Annotated[int, Field(ge=0)]
    tokens: Annotated[int, Field(ge=0)] = Field(description="Tokens trained on up to here, over all attempts.")
    time: datetime
    processes: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Training processes that wrote it; ZeRO partitions its state among them."
    )

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(entry.size for entry in self.files.values())


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    folder: Path
    marker: CheckpointMarker

    def mark(self, layout: JobLayout) -> CheckpointMark:
        """The checkpoint as progress and status show it."""
        return CheckpointMark(step=self.marker.step, path=layout.relative(self.folder), time=self.marker.time)


def complete(
    folder: Path, files: dict[str, FileEntry], *, step: int, tokens: int, processes: int | None = None
) -> Checkpoint:
    """Make the checkpoint in ``folder`` count; every rank must have finished writing to it.

    Args:
        folder: where it lies.
        files: all that was written.
        step: optimizer steps done.
        tokens: tokens trained on.
        processes: training processes that wrote it.
    """
    marker = CheckpointMarker(files=files, step=step, tokens=tokens, time=datetime.now(UTC), processes=processes)
    write_marker(folder, marker)
    return Checkpoint(folder, marker)


def best_first(stage: StageLayout, up_to_attempt: int) -> list[Path]:
    """Folders of checkpoints of attempts 1 to ``up_to_attempt``: the most steps first; of equals, the latest attempt's.

    Whether they are complete is not looked at.
    """
    return sorted(_latest_first(stage, up_to_attempt), key=_step, reverse=True)  # stable: equal steps stay latest first


def newest(stage: StageLayout, up_to_attempt: int) -> Checkpoint | None:
    """The first of `best_first` that is complete at a glance."""
    for folder in best_first(stage, up_to_attempt):
        try:
            return Checkpoint(folder, glance_at(folder, CheckpointMarker))
        except NotComplete as fault:
            _log.warning("skipping %s: %s", folder, fault)
    return None


def rotate(stage: StageLayout, attempt: int, keep: int, damaged: Collection[Path] = ()) -> None:
    """Remove all but the newest ``keep`` complete checkpoints of the stage; called once ``attempt`` has completed one.

    The attempt's own count first: it chose the best there was to resume from, so what is left of earlier ones is
    behind them. Once a later attempt has begun, nothing is removed, for it may be reading any of them.

    Args:
        stage: the stage's folders.
        attempt: number of the attempt; folders of later ones are not looked at.
        keep: how many to keep.
        damaged: folders that are known to be damaged though a glance does not show it.
    """
    if (later := _latest_attempt(stage, attempt)) > attempt:
        _log.warning("attempt %d has taken over: leaving old checkpoints to it", later)
        return
    kept = 0
    for folder in _latest_first(stage, attempt):
        if kept >= keep:
            _remove(folder)
        elif folder not in damaged and read_marker(folder, CheckpointMarker) is not None:
            kept += 1


def remove_abandoned(stage: StageLayout, attempt: int) -> None:
    """Remove what attempts before ``attempt`` left half written: those that were killed could not do so."""
    for number in range(1, attempt):
        discard_incomplete(stage.attempt(number))


def discard_incomplete(attempt: AttemptLayout) -> None:
    """Remove what an attempt that is over left half written, as far as the volume lets it."""
    leftovers = [folder for folder in _in(attempt.checkpoints) if not has_marker(folder)]
    for folder in (*leftovers, attempt.building, attempt.resharded):
        if folder.exists():
            _log.info("removing %s: it was not completed", folder)
            _remove(folder)


def _latest_attempt(stage: StageLayout, attempt: int) -> int:
    """The last attempt that has begun, as far as the volume shows; ``attempt`` is one of them."""
    names = (path.name for path in stage.attempt(attempt).root.parent.iterdir())
    return max((int(name) for name in names if name.isdecimal()), default=attempt)


def _latest_first(stage: StageLayout, up_to_attempt: int) -> Iterator[Path]:
    """Folders of checkpoints, those of the latest attempt first, and of each attempt those with the most steps."""
    for attempt in range(up_to_attempt, 0, -1):
        yield from sorted(_in(stage.attempt(attempt).checkpoints), key=_step, reverse=True)


def _remove(folder: Path) -> None:
    """Remove a folder, its marker first: killed half-way, this leaves nothing that claims to be complete."""
    try:
        (folder / COMPLETION_MARKER).unlink(missing_ok=True)
    except OSError as error:
        _log.warning("cannot remove %s: %s", folder, error)
        return
    shutil.rmtree(folder, ignore_errors=True)


def _in(checkpoints: Path) -> list[Path]:
    if not checkpoints.is_dir():
        return []
    return [path for path in checkpoints.iterdir() if _NAME.match(path.name)]


def _step(folder: Path) -> int:
    match = _NAME.match(folder.name)
    return int(match.group(1)) if match else -1
