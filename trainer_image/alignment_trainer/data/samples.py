"""Some prepared rows for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

_LONGEST: Final = 600
"""Characters shown of a text."""


def samples_of(folder: Path, places: Sequence[str]) -> list[dict[str, Any]]:
    """The first rows of a split as JSON values, with long texts cut.

    Args:
        folder: the split, as ``datasets.load_from_disk`` opens it.
        places: where the first rows were found; as many are shown.
    """
    import datasets

    rows = datasets.load_from_disk(str(folder)).select(range(len(places)))
    return [{"where": where, "columns": _shortened(row)} for where, row in zip(places, rows, strict=True)]


def _shortened(value: Any) -> Any:
    match value:
        case str() if len(value) > _LONGEST:
            return f"{value[:_LONGEST]}… ({len(value)} characters)"
        case dict():
            return {name: _shortened(part) for name, part in value.items()}
        case list():
            return [_shortened(part) for part in value[:20]]
        case _:
            return value
