"""The prepared data of a stage on disk: ``data/{train,eval}`` and ``complete.json``, visible only as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import StageLayout
from alignment_api.v1alpha1 import DataStatus, Stage
from alignment_api.v1alpha1.methods.sft import LossOn

from ..completion import Marker, list_files, read_marker, write_marker
from .rows import Conversation, Labelled, Pair, Prompt, Row

TRAIN: Final = "train"
EVAL: Final = "eval"


class DataMarker(Marker):
    """Completion marker of a data folder.

    Attributes:
        source: the dataset and method members of the stage as JSON; data of another specification is not reused.
        status: its numbers.
    """

    source: str
    status: DataStatus


def source_of(stage: Stage) -> str:
    """What the prepared data of ``stage`` depends on."""
    return stage.model_dump_json(include={"dataset", stage.method.value})


def find(stage: Stage, folders: StageLayout) -> DataStatus | None:
    """Numbers of the stage's data if an earlier Prepare completed it."""
    marker = read_marker(folders.data, DataMarker)
    return marker.status if marker is not None and marker.source == source_of(stage) else None


def save(stage: Stage, folders: StageLayout, train: Sequence[Row], held_out: Sequence[Row], status: DataStatus) -> None:
    """Write the rows; a split without rows has no folder. Killed at any instant, this leaves nothing visible."""
    building = folders.data.with_name(f".{folders.data.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for name, rows in ((TRAIN, train), (EVAL, held_out)):
        if rows:
            _write_split(building / name, [columns(row, stage) for row in rows], _messages(rows[0]))
    write_marker(building, DataMarker(files=list_files(building), source=source_of(stage), status=status))
    shutil.rmtree(folders.data, ignore_errors=True)
    building.rename(folders.data)


def read_rows(folder: Path) -> list[Row]:
    """The rows of a split."""
    import datasets

    return [_from_columns(row) for row in datasets.load_from_disk(str(folder))]


def columns(row: Row, stage: Stage) -> dict[str, Any]:
    """``row`` in TRL's columns for ``stage``: loss on the completion needs it apart from its prompt."""
    match row:
        case Conversation(messages) if stage.sft is not None and stage.sft.loss_on is LossOn.COMPLETION:
            return {"prompt": list(messages[:-1]), "completion": list(messages[-1:])}
        case Conversation(messages):
            return {"messages": list(messages)}
        case Pair(prompt, chosen, rejected, margin):
            sides: dict[str, Any] = {"prompt": list(prompt), "chosen": list(chosen), "rejected": list(rejected)}
            return sides if margin is None else {**sides, "margin": margin}
        case Labelled(prompt, completion, label):
            return {"prompt": list(prompt), "completion": list(completion), "label": label}
        case Prompt(prompt, extra):
            return {**extra, "prompt": list(prompt)}


def _from_columns(row: dict[str, Any]) -> Row:
    match row:
        case {"chosen": chosen, "rejected": rejected, "prompt": prompt}:
            return Pair(tuple(prompt), tuple(chosen), tuple(rejected), row.get("margin"))
        case {"completion": completion, "prompt": prompt, "label": label}:
            return Labelled(tuple(prompt), tuple(completion), label)
        case {"completion": completion, "prompt": prompt}:
            return Conversation((*prompt, *completion))
        case {"messages": messages}:
            return Conversation(tuple(messages))
        case _:
            return Prompt(tuple(row["prompt"]), {name: value for name, value in row.items() if name != "prompt"})


def _messages(row: Row) -> frozenset[str]:
    """The columns of messages; others may bear the same names where a prompt brings its own columns."""
    if isinstance(row, Prompt):
        return frozenset({"prompt"})
    return frozenset({"messages", "prompt", "completion", "chosen", "rejected"})


def _write_split(folder: Path, rows: list[dict[str, Any]], messages: frozenset[str]) -> None:
    import datasets

    turn = {"role": datasets.Value("string"), "content": datasets.Value("string")}
    dataset = datasets.Dataset.from_list(rows)
    features = {name: datasets.List(turn) if name in messages else kind for name, kind in dataset.features.items()}
    dataset.cast(datasets.Features(features)).save_to_disk(str(folder))
