"""The record of every row that is not used because something is wrong with it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

EXAMPLES: Final = 5
"""Rows named for each reason in reports and errors; all of them are in the file."""
_REASONS: Final = 200
"""Different reasons told apart in the summary; data can hold endlessly many."""
_OTHER: Final = "other reasons"


class DroppedRows:
    """Writes a line for each dropped row, ``{"row": where, "reasons": [...]}``, and sums them up.

    The file appears when the record is closed, also if that is because an error is raised; without a dropped row there
    is none.

    Args:
        path: the file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._building = path.with_name(f".{path.name}.building")
        self._file = self._building.open("w")
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        if self._counts:
            os.replace(self._building, self._path)
        else:
            self._building.unlink()
            self._path.unlink(missing_ok=True)

    def add(self, where: str, reasons: Sequence[str]) -> None:
        """Record the row found at ``where``."""
        self._file.write(json.dumps({"row": where, "reasons": list(reasons)}) + "\n")
        for reason in reasons:
            name = reason if reason in self._counts or len(self._counts) < _REASONS else _OTHER
            self._counts[name] += 1
            examples = self._examples.setdefault(name, [])
            if len(examples) < EXAMPLES:
                examples.append(where)

    def summary(self) -> list[dict[str, object]]:
        """Each reason with its number of rows and the first of them, the most frequent one first."""
        return [
            {"reason": reason, "rows": count, "examples": self._examples[reason]}
            for reason, count in self._counts.most_common()
        ]
