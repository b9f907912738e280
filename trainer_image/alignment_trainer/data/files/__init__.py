"""Rows of files, read one by one in bounded memory, so that one bad row does not hide the others.

============  ================================================
suffix        what it holds
============  ================================================
``.jsonl``    a JSON object a line
``.json``     a list of JSON objects, or an object a line
``.csv``      a header and a record a line, all values text
``.parquet``  Parquet
``.arrow``    Arrow IPC, a stream or a file
============  ================================================

The first three may be compressed: ``.gz``, ``.bz2``, ``.xz`` or ``.zst`` behind.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final

from .columnar import arrow, parquet
from .compression import DAMAGED, DECOMPRESSORS
from .csv_text import csv_records
from .json_text import json_lines, json_list_or_lines
from .row import FileRow

_TEXT: Final[dict[str, Callable[[io.BufferedReader[Any]], Iterator[FileRow]]]] = {
    ".jsonl": json_lines,
    ".json": json_list_or_lines,
    ".csv": csv_records,
}
_COLUMNAR: Final[dict[str, Callable[[BinaryIO], Iterator[FileRow]]]] = {".parquet": parquet, ".arrow": arrow}

_BUFFER: Final = 1 << 17
"""Bytes read at a time, as network volumes like it."""

KINDS: Final = ", ".join([*_TEXT, *_COLUMNAR])
"""The suffixes, for messages."""


def kind_of(name: str) -> str | None:
    """The suffix that says what a file of this name holds; None of one that holds no rows."""
    suffixes = PurePosixPath(name).suffixes
    if suffixes and suffixes[-1] in DECOMPRESSORS:
        return suffixes[-2] if len(suffixes) > 1 and suffixes[-2] in _TEXT else None
    return suffixes[-1] if suffixes and suffixes[-1] in {*_TEXT, *_COLUMNAR} else None


def is_columnar(kind: str) -> bool:
    """Whether files of a kind are read here and there, so that they must be seekable."""
    return kind in _COLUMNAR


def read_rows(name: str, file: BinaryIO) -> Iterator[FileRow]:
    """The rows of a file, from its beginning.

    Args:
        name: its name, of a kind that ``kind_of`` knows.
        file: its bytes; of Parquet and Arrow files, seekable.

    Raises:
        OSError: it cannot be read.
        ValueError: from some row on it is not in its format: damaged, invalid UTF-8, a JSON list that breaks off.
    """
    import pyarrow

    kind = kind_of(name)
    if kind is None:
        raise ValueError(f"{name} must end in {KINDS}")
    suffix = PurePosixPath(name).suffix
    try:
        if is_columnar(kind):
            yield from _COLUMNAR[kind](file)
        else:
            plain = DECOMPRESSORS[suffix](file) if suffix in DECOMPRESSORS else file
            yield from _TEXT[kind](io.BufferedReader(plain, _BUFFER))
    except (*DAMAGED, pyarrow.ArrowException, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error


__all__ = ["KINDS", "FileRow", "is_columnar", "kind_of", "read_rows"]
