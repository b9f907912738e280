"""The ``columns`` of a dataset: its columns under the names that a format knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .rows import RowError


def rename(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """``row`` with the columns that ``columns`` renames, and all others as they are.

    Args:
        row: the source row.
        columns: new name -> the dataset's name, or a dotted path into objects; a column whose own name has dots is
            preferred. A new name replaces a column that already bears it.

    Raises:
        RowError: the row lacks a column that is to be renamed.
    """
    renamed = {name: _find(row, name, path) for name, path in columns.items()}
    moved = set(columns.values())
    return {name: value for name, value in row.items() if name not in moved} | renamed


def _find(row: Mapping[str, Any], name: str, path: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            there = ", ".join(sorted(map(str, row))) or "none"
            raise RowError(name, f"columns takes it from {path}, which this row lacks; its columns are: {there}")
        value = value[part]
    return value
