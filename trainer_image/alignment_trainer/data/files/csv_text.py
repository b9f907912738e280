"""Comma-separated values with a header."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .row import LONGEST, FileRow


def csv_records(file: io.BufferedReader[Any]) -> Iterator[FileRow]:
    """One row a record; all values are text, and those that a short record lacks are missing.

    Raises:
        ValueError: the text is not UTF-8 or not CSV from some line on, or two columns have one name.
    """
    csv.field_size_limit(LONGEST)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.DictReader(text, strict=True)
    try:
        twice = [name for name, count in Counter(reader.fieldnames or ()).items() if count > 1]
        if twice:
            raise ValueError(f"two columns are called {twice[0]!r}")
        for row in reader:
            where = f"line {reader.line_num}"
            if None in row:
                yield FileRow(where, None, "has more values than the header has columns")
            else:
                yield FileRow(where, row)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
