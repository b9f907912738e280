"""One row of a source, and the errors of a source as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignment_api.contract import Problem

from ...exceptions import DataError


@dataclass(frozen=True)
class SourceItem:
    """One row of a source.

    Attributes:
        where: the row as people find it: file and line, or row number, counted from 1.
        value: the row; None when it could not be read.
        error: why it could not be read.
    """

    where: str
    value: Mapping[str, Any] | None
    error: str = ""


def data_error(field: str, message: str) -> DataError:
    """A source that the user must change.

    Args:
        field: path in the manifest.
        message: what is wrong, and the way out.
    """
    return DataError(message, [Problem(field=field, message=message)])
