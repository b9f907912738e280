"""Rows of opened files as items of a source; which of several files belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from ..files import KINDS, kind_of, read_rows
from .item import SourceItem, data_error

_METADATA: Final = frozenset({"dataset_info.json", "dataset_dict.json", "state.json"})
"""What `datasets` writes beside its Arrow files."""


def items(name: str, file: BinaryIO, field: str) -> Iterator[SourceItem]:
    """The rows of a file whose kind is known.

    Args:
        name: the file as people find it.
        file: its bytes.
        field: path in the manifest of what names it.

    Raises:
        DataError: from some row on, the file is not in its format.
        OSError: it cannot be read any further.
    """
    try:
        for row in read_rows(name, file):
            yield SourceItem(f"{name} {row.where}", row.value, row.error)
    except ValueError as error:
        raise data_error(field, f"{name} cannot be read: {error}") from error


def local_items(path: Path, name: str, field: str) -> Iterator[SourceItem]:
    """The rows of a file on this machine.

    Raises:
        DataError: it is no file of rows, or cannot be read.
    """
    check_kind(name, field)
    try:
        with path.open("rb", buffering=0) as file:
            yield from items(name, file, field)
    except OSError as error:
        raise data_error(field, f"{name} cannot be read: {error}") from error


def check_kind(name: str, field: str) -> None:
    """Refuse a file that holds no rows.

    Raises:
        DataError: its name says so.
    """
    if kind_of(name) is None:
        raise data_error(
            field, f"{name} is not a file of rows: its name must end in {KINDS}; text also in .gz, .bz2, .xz or .zst"
        )


def of_one_kind(names: Sequence[str], folder: str, field: str) -> list[str]:
    """Those of the files in a folder that hold rows, sorted; hidden files and metadata do not count.

    Raises:
        DataError: there are none, or they are of several kinds.
    """
    found = {name: kind_of(name) for name in sorted(names) if _counts(PurePosixPath(name).name)}
    kinds = sorted({kind for kind in found.values() if kind is not None})
    if len(kinds) != 1:
        there = f"files of several kinds ({', '.join(kinds)})" if kinds else f"no {KINDS} files"
        raise data_error(field, f"{folder} holds {there}: it must hold files of one kind")
    return [name for name, kind in found.items() if kind is not None]


def _counts(name: str) -> bool:
    return not name.startswith((".", "_")) and name not in _METADATA
