"""Says what is wrong with the workspace volume when something cannot be written to it.

Files are written by many libraries, and each reports a full disk in its own way: ``OSError`` with or without a path,
safetensors with the error's number in a text, torch with no more than that a write failed.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .exceptions import StorageError, TrainerError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM})
_BROKEN: Final = frozenset({errno.EIO, errno.ESTALE})
_ANY: Final = _FULL | _DENIED | _BROKEN | {errno.EROFS}

_NUMBER: Final = re.compile(r"\((?:os error|errno) (\d+)\)|\[[Ee]rrno (\d+)\]")
_WORDS: Final = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Read-only file system": errno.EROFS,
    "Stale file handle": errno.ESTALE,
}
_TORCH: Final = re.compile(
    r"PytorchStreamWriter failed|unexpected pos \d+ vs|file write failed|cannot be opened for writ"
)


@contextmanager
def explained(folder: Path, needed: Callable[[], int | None] = lambda: None) -> Iterator[None]:
    """Turn errors of the volume that holds ``folder`` into ones that say what to do; other errors pass as they are.

    Args:
        folder: what is written lies below it.
        needed: bytes that the write needs, if that is known.

    Raises:
        StorageError: something below ``folder`` could not be written.
    """
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:
        found = number_of(error, folder)
        if found is None:
            raise
        raise StorageError(_message(*found, needed())) from error


def number_of(error: Exception, folder: Path) -> tuple[int, Path] | None:
    """The number of the volume's error that ``error`` reports, and where it happened; None if it is of another kind."""
    if isinstance(error, OSError) and error.errno in _ANY:
        # A copy names two files: what is read, perhaps from the image, and what is written.
        names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        if not names:
            return (error.errno, folder) if error.errno not in _DENIED else None
        paths = [Path(os.fsdecode(name)) for name in names]
        return next(((error.errno, path) for path in paths if path.is_relative_to(folder)), None)
    text = str(error)
    match = _NUMBER.search(text)
    if match is not None and (number := int(match.group(1) or match.group(2))) in _ANY - _DENIED:
        return number, folder
    for words, number in _WORDS.items():
        if words in text:
            return number, folder
    if _TORCH.search(text):
        return _probed(folder), folder
    return None


def free_bytes(path: Path) -> int | None:
    """Bytes that this process may still write to the volume of ``path``; None if it cannot be asked."""
    try:
        volume = os.statvfs(_existing(path))
    except OSError:
        return None
    return volume.f_bavail * volume.f_frsize


def _message(number: int, path: Path, needed: int | None) -> str:
    free = free_bytes(path)
    sizes = f"{free} bytes are free" if free is not None else "the volume does not answer"
    if needed is not None and number in _FULL:
        sizes += f", and about {needed} are needed for a checkpoint"
    said = os.strerror(number)
    if number in _FULL:
        advice = "enlarge the volume, free space on it, or lower training.checkpoint.keep"
    elif number == errno.EROFS:
        advice = "mount the workspace for writing; a volume that turned read-only by itself needs a check of its disk"
    elif number in _DENIED:
        advice = f"let user {os.getuid()} or group {os.getgid()} write to it, or set the volume's fsGroup"
    else:
        advice = "see what the storage behind the workspace says"
    return (
        f"cannot write {path}: {said} ({sizes}). What is complete stays, and the next attempt goes on there: {advice}"
    )


def _probed(folder: Path) -> int:
    """The error that torch met when it wrote below ``folder`` and does not name."""
    place = _existing(folder)
    try:
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            return errno.EROFS
    except OSError as error:
        return error.errno or errno.EIO
    return errno.ENOSPC if os.access(place, os.W_OK) else errno.EACCES


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
