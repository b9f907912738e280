"""Which checkpoint an attempt goes on from, agreed on by its gang; every process must take part.

Nothing that was ever complete is given up without a word: a damaged checkpoint makes an older one be used, and if none
is whole the stage fails. Starting again from zero is for people to decide.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from accelerate import PartialState

from alignment_api.contract import JobLayout

from . import checkpoints, gang_digests
from .attempt import Attempt
from .checkpoints import Checkpoint, CheckpointMarker
from .completion import NotComplete, glance_at, has_marker
from .distributed import agree
from .exceptions import CheckpointError

_log = logging.getLogger(__name__)
_LISTED: Final = 8
"""Folders that an error names; a termination message holds no more."""


class Choice(NamedTuple):
    """What to go on from.

    Attributes:
        checkpoint: the best whole checkpoint; None at a stage's start.
        damaged: folders that were complete once and are not whole.
    """

    checkpoint: Checkpoint | None
    damaged: tuple[Path, ...] = ()


class _Damaged(NamedTuple):
    folder: Path
    fault: str


def choose(layout: JobLayout, attempt: Attempt, process: PartialState) -> Choice:
    """The best checkpoint of all attempts up to this one that is whole to the last bit.

    Rank 0 chooses: an earlier gang, cut off but alive, may still be writing.

    Raises:
        CheckpointError: there were complete checkpoints, and none is whole.
    """
    stage = layout.stage(attempt.stage)
    main = process.is_main_process
    folders = agree(checkpoints.best_first(stage, attempt.number) if main else [])
    damaged: list[_Damaged] = []
    for folder in folders:
        found = agree(_glance(folder) if main else None)
        if found is None:
            if main:
                _log.info("skipping %s: it was never completed", folder)
            continue
        fault = found if isinstance(found, str) else gang_digests.fault(folder, found.files, process)
        if fault is None and not isinstance(found, str):
            return Choice(Checkpoint(folder, found), tuple(folder for folder, _ in damaged))
        damaged.append(_Damaged(folder, str(fault)))
        if main:
            _log.warning("skipping %s: %s", folder, fault)
    if damaged or attempt.resumes:
        raise CheckpointError(_message(layout, attempt, folders, damaged))
    return Choice(None)


def _glance(folder: Path) -> CheckpointMarker | str | None:
    """The folder's marker; what is wrong with it; None if it never had one."""
    if not has_marker(folder):
        return None
    try:
        return glance_at(folder, CheckpointMarker)
    except NotComplete as fault:
        return str(fault)


def _message(layout: JobLayout, attempt: Attempt, folders: Sequence[Path], damaged: Sequence[_Damaged]) -> str:
    faults = {entry.folder: entry.fault for entry in damaged}
    lines = [f"{layout.relative(folder)}: {faults.get(folder, 'it was never completed')}" for folder in folders]
    if len(lines) > _LISTED:
        lines[_LISTED:] = [f"and {len(lines) - _LISTED} more"]
    if not lines:
        lines = [f"{layout.relative(layout.stage(attempt.stage).root / 'attempts')}: no checkpoint is there any more"]
    return "\n".join(
        [
            f"stage {attempt.stage} had complete checkpoints and none of them is whole:",
            *(f"  {line}" for line in lines),
            "Starting again from step 0 would lose their work. Restore one of them, from a snapshot of the volume for "
            "example, or start a new AlignmentJob to train from the beginning.",
        ]
    )
