"""One row of a file, or why it is none."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

LONGEST: Final = 64 << 20
"""Bytes or characters of a row, at most: a file without row ends must not fill the memory."""


class FileRow(NamedTuple):
    """A row as it stands in a file.

    Attributes:
        where: where in the file, such as ``line 3``.
        value: column -> value; None when there is no row to be had.
        error: why it is None.
    """

    where: str
    value: dict[str, Any] | None
    error: str = ""


def json_row(where: str, value: Any) -> FileRow:
    """The row that a JSON value is."""
    if not isinstance(value, dict):
        return FileRow(where, None, "must be a JSON object, column names to values")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return FileRow(where, None, r"holds half of a character (a lone \ud800 to \udfff), which no tokenizer takes")
    except RecursionError:
        return FileRow(where, None, "nests too deep")
    return FileRow(where, value)
