"""Completion markers: a folder counts only once ``complete.json`` is in it, written last.

The marker lists every file with its size, and a SHA-256 digest of files up to `DIGEST_LIMIT` bytes. Larger ones, model
weights and optimizer states of many gigabytes, are checked by size alone: that finds the truncated and missing files a
killed writer leaves, without reading a whole checkpoint back at each save and resume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alignment_api.contract.layout import COMPLETION_MARKER

from .files import write_atomically

DIGEST_LIMIT: Final = 1 << 20


class FileEntry(BaseModel):
    """One file of a complete folder."""

    model_config = ConfigDict(frozen=True)

    size: Annotated[int, Field(ge=0)]
    sha256: str | None = None


class Marker(BaseModel):
    """Content of ``complete.json``; subclasses add what their kind of folder needs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    files: dict[str, FileEntry]


AnyMarker = TypeVar("AnyMarker", bound=Marker)


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Every file below ``folder`` but its marker, by path relative to it."""
    return {path.relative_to(folder).as_posix(): _entry(path) for path in _files(folder)}


def write_marker(folder: Path, marker: Marker) -> None:
    """Make ``folder`` complete; everything in it must have been written."""
    write_atomically(folder / COMPLETION_MARKER, marker.model_dump_json(indent=2), durable=True)


def read_marker(folder: Path, kind: type[AnyMarker]) -> AnyMarker | None:
    """The marker of ``folder``, or None if it has none or a file is not as the marker says."""
    try:
        marker = kind.model_validate_json((folder / COMPLETION_MARKER).read_bytes())
        intact = all(_matches(folder / name, entry) for name, entry in marker.files.items())
    except (OSError, ValidationError):
        return None
    return marker if intact else None


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / COMPLETION_MARKER:
            yield path


def _entry(path: Path) -> FileEntry:
    size = path.stat().st_size
    return FileEntry(size=size, sha256=sha256_of(path) if size <= DIGEST_LIMIT else None)


def _matches(path: Path, entry: FileEntry) -> bool:
    return path.stat().st_size == entry.size and (entry.sha256 is None or sha256_of(path) == entry.sha256)
