"""Rows of files: JSON Lines, JSON, CSV and Parquet; read row by row, so that one bad row does not hide the others."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

FileRow = tuple[str, dict[str, Any] | None, str]
"""(where in the file, the row or None, why it is None)."""


def read_file(path: Path) -> Iterator[FileRow]:
    """The rows of ``path``, by the suffix of its name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not in its format as a whole (damaged Parquet, invalid UTF-8, JSON that is not a list).
    """
    yield from _READERS[path.suffix](path)


def _json_lines(path: Path) -> Iterator[FileRow]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _json_line(f"line {number}", line)


def _json_line(where: str, line: str) -> FileRow:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return where, None, f"is not JSON: {error}"
    return _json_object(where, value)


def _json_object(where: str, value: Any) -> FileRow:
    if not isinstance(value, dict):
        return where, None, "must be a JSON object, column names to values"
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return where, None, r"holds half of a character (a lone \ud800 to \udfff), which no tokenizer takes"
    return where, value, ""


def _json(path: Path) -> Iterator[FileRow]:
    """A list of objects; hubs and tools also write JSON Lines under this suffix."""
    with path.open(encoding="utf-8-sig") as file:
        start = next((char for line in file for char in line.strip()), "")
    if start != "[":
        yield from _json_lines(path)
        return
    for number, value in enumerate(json.loads(path.read_text(encoding="utf-8-sig")), start=1):
        yield _json_object(f"row {number}", value)


def _csv(path: Path) -> Iterator[FileRow]:
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                where = f"line {reader.line_num}"
                if None in row:
                    yield where, None, "has more values than the header has columns"
                else:
                    yield where, row, ""
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error


def _parquet(path: Path) -> Iterator[FileRow]:
    import pyarrow.parquet  # type: ignore[import-untyped]

    number = 0
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row, ""


_READERS: Final[dict[str, Callable[[Path], Iterator[FileRow]]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
SUFFIXES: Final = tuple(_READERS)
