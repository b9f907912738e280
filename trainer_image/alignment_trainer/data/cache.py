"""Prepared data shared by all jobs of a workspace, by a digest of everything that decides what is in it.

An entry is built beside its place and renamed into it, complete with its marker: a Prepare that is killed leaves
nothing that looks like an entry, and of two jobs that build the same entry the second keeps the first one's.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from alignment_api.contract import JobLayout
from alignment_api.v1alpha1 import DataStatus

from ..completion import Marker, list_files, read_marker, write_marker

_ABANDONED: Final = 7 * 24 * 3600
"""Seconds after which a workplace is taken for one of a job that is gone."""


class EntryMarker(Marker):
    """Completion marker of an entry.

    Attributes:
        status: the numbers of the data.
    """

    status: DataStatus


class Cache:
    """The entries of a workspace.

    Args:
        layout: folders of the job that uses them.
    """

    def __init__(self, layout: JobLayout) -> None:
        self._root = layout.prepared_cache
        self._uid = layout.job.uid

    def workplace(self, stage: str) -> Path:
        """An empty folder for building the data of ``stage``; what an earlier run of the same job left is removed."""
        self._sweep()
        folder = self._root / f".{self._uid}.{stage}.building"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def find(self, key: str) -> tuple[Path, DataStatus] | None:
        """The entry ``key`` and its numbers; None if there is none, or one that is not as its marker says."""
        marker = read_marker(self._root / key, EntryMarker)
        return (self._root / key, marker.status) if marker is not None else None

    def add(self, key: str, built: Path, status: DataStatus) -> Path:
        """Make the folder ``built``, which is moved, the entry ``key``; where the entry is."""
        write_marker(built, EntryMarker(files=list_files(built), status=status))
        place = self._root / key
        if self.find(key) is None:
            shutil.rmtree(place, ignore_errors=True)  # torn: an entry never changes once it is in its place
            try:
                built.rename(place)
            except OSError:
                if self.find(key) is None:
                    raise
        shutil.rmtree(built, ignore_errors=True)
        return place

    def _sweep(self) -> None:
        """Remove the workplaces of jobs that were deleted in the middle of their work."""
        oldest = time.time() - _ABANDONED
        for folder in self._root.glob(".*.building"):
            try:
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
            except FileNotFoundError:
                continue
