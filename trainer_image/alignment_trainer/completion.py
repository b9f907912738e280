"""Completion markers: a folder counts only once ``complete.json`` is in it, written last.

The marker lists every file with its size and digest. A glance (`read_marker`) compares all sizes and the digests of
small files: that finds the truncated and missing files a killed writer leaves. A thorough look (`fault_in`) reads
everything, and finds a single flipped bit.

Digests are XXH3 of 128 bits: they are to find damage, not malice, and cost a twelfth of SHA-256 or less, so that files
of many gigabytes are read at the speed of the volume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, TypeVar

import xxhash
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alignment_api.contract.layout import COMPLETION_MARKER

from .files import write_atomically

GLANCE_LIMIT: Final = 1 << 20
"""Bytes of the largest files whose digests a glance compares."""

_BLOCK: Final = 1 << 22


class FileEntry(BaseModel):
    """One file of a complete folder."""

    model_config = ConfigDict(frozen=True)

    size: Annotated[int, Field(ge=0)]
    xxh3: str | None = Field(default=None, description="XXH3-128, hexadecimal; markers of old releases have none.")


class Marker(BaseModel):
    """Content of ``complete.json``; subclasses add what their kind of folder needs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    files: dict[str, FileEntry]


AnyMarker = TypeVar("AnyMarker", bound=Marker)


class NotComplete(Exception):
    """A folder is not what its marker says, or has none; the text says why."""


def sizes_in(folder: Path) -> dict[str, int]:
    """Bytes of every file below ``folder`` but its marker, by path relative to it."""
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}


def entry_of(path: Path) -> FileEntry:
    """Size and digest of a file."""
    return FileEntry(size=path.stat().st_size, xxh3=digest_of(path))


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Every file below ``folder`` but its marker, by path relative to it."""
    return {path.relative_to(folder).as_posix(): entry_of(path) for path in _files(folder)}


def write_marker(folder: Path, marker: Marker) -> None:
    """Make ``folder`` complete; everything in it must have been written."""
    write_atomically(folder / COMPLETION_MARKER, marker.model_dump_json(indent=2), durable=True)


def has_marker(folder: Path) -> bool:
    """Whether ``folder`` was complete at some time."""
    return (folder / COMPLETION_MARKER).exists()


def read_marker(folder: Path, kind: type[AnyMarker]) -> AnyMarker | None:
    """The marker of ``folder``, or None if it has none or a glance shows that a file is not as the marker says."""
    try:
        return glance_at(folder, kind)
    except NotComplete:
        return None


def glance_at(folder: Path, kind: type[AnyMarker]) -> AnyMarker:
    """The marker of ``folder``.

    Raises:
        NotComplete: it has none, or a glance shows that a file is not as the marker says.
    """
    try:
        marker = kind.model_validate_json((folder / COMPLETION_MARKER).read_bytes())
    except FileNotFoundError:
        raise NotComplete("it has no completion marker") from None
    except OSError as error:
        raise NotComplete(f"its completion marker cannot be read: {error}") from error
    except ValidationError:
        raise NotComplete("its completion marker is garbled") from None
    for name, entry in marker.files.items():
        fault = fault_in(folder, name, entry, thoroughly=entry.size <= GLANCE_LIMIT)
        if fault is not None:
            raise NotComplete(fault)
    return marker


def fault_in(folder: Path, name: str, entry: FileEntry, *, thoroughly: bool = True) -> str | None:
    """What is wrong with a file of a complete folder; None if nothing is.

    Args:
        folder: the folder.
        name: the file's path below it.
        entry: what its marker says of the file.
        thoroughly: compare the digest too, for which the file is read.
    """
    path = folder / name
    try:
        size = path.stat().st_size
        if size != entry.size:
            return f"{name} has {size} bytes, not {entry.size}"
        if thoroughly and entry.xxh3 is not None and digest_of(path) != entry.xxh3:
            return f"{name} is altered: its digest is not the one it was written with"
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read: {error}"
    return None


def digest_of(path: Path) -> str:
    """Hexadecimal XXH3-128 of the file's content."""
    digest = xxhash.xxh3_128()
    block = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / COMPLETION_MARKER:
            yield path
