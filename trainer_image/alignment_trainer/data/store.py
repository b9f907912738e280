"""Prepared data on disk: ``{train,eval}`` and ``complete.json`` in a folder that is visible only as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import StageLayout
from alignment_api.v1alpha1 import DataStatus, Stage

from ..completion import Marker, list_files, read_marker, write_marker
from ..files import link_tree
from .rows import Row
from .table import from_record

TRAIN: Final = "train"
EVAL: Final = "eval"


class DataMarker(Marker):
    """Completion marker of a data folder.

    Attributes:
        source: what it was made from, and how; data made from something else is not reused.
        status: its numbers.
    """

    source: str
    status: DataStatus


def source_of(stage: Stage) -> str:
    """What the prepared data of ``stage`` depends on within one job."""
    return stage.model_dump_json(include={"dataset", stage.method.value})


def find(stage: Stage, folders: StageLayout) -> DataStatus | None:
    """Numbers of the stage's data if an earlier Prepare completed it."""
    marker = read_marker(folders.data, DataMarker)
    return marker.status if marker is not None and marker.source == source_of(stage) else None


def publish(built: Path, stage: Stage, folders: StageLayout, status: DataStatus) -> None:
    """Make the splits in ``built`` the data of ``stage``, sharing their files; killed, this leaves nothing visible."""
    building = folders.data.with_name(f".{folders.data.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for name in (TRAIN, EVAL):
        if (built / name).is_dir():
            link_tree(built / name, building / name)
    write_marker(building, DataMarker(files=list_files(building), source=source_of(stage), status=status))
    shutil.rmtree(folders.data, ignore_errors=True)
    building.rename(folders.data)


def read_rows(folder: Path) -> list[Row]:
    """The rows of a split."""
    return [from_record(record) for record in read_records(folder)]


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a split as they are stored, one at a time."""
    import datasets

    yield from datasets.load_from_disk(str(folder))
