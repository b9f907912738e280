"""Folders that Prepare builds once: visible only as a whole, and kept until they are to be made from something else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ..completion import Marker, list_files, read_marker, write_marker


class SourceMarker(Marker):
    """Completion marker that says what the folder was made from.

    Attributes:
        source: what it was made from, and how.
    """

    source: str


def build(folder: Path, source: str, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write the content of ``folder``, unless it is there already.

    Args:
        folder: where the content is to be.
        source: what decides it; content of another source is replaced.
        fill: writes everything into an empty folder; if it fails, nothing changes.
    """
    marker = read_marker(folder, SourceMarker)
    if marker is not None and marker.source == source:
        return
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        fill(building)
        write_marker(building, SourceMarker(files=list_files(building), source=source))
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
