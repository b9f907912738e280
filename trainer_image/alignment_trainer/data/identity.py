"""What decides the content of prepared data, in one digest."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import JobLayout
from alignment_api.v1alpha1 import Dataset, Stage
from alignment_api.v1alpha1.dataset import field_below

from . import limits, origin, table
from .origin import Origin

VERSION: Final = 1
"""To be raised with every change to formats, checks, columns or the report, so that data is prepared anew."""


@dataclass(frozen=True)
class Identity:
    """The cache key of a stage's data, and the dataset that it holds for.

    Attributes:
        key: hexadecimal digest; stages whose methods need the same data share it.
        dataset: the stage's dataset, pinned to the content of the key where it can be.
        origins: the content of its sources.
    """

    key: str
    dataset: Dataset
    origins: list[Origin]

    def holds(self, layout: JobLayout) -> bool:
        """Whether no source has changed since."""
        return all(each.stamp == origin.stamp_of(each.source, layout) for each in self.origins)


def identify(stage: Stage, tokenizer: Any, layout: JobLayout, path: str) -> Identity | None:
    """The identity of the data of ``stage``; None if its content cannot be told without reading it.

    Args:
        stage: the stage.
        tokenizer: the tokenizer it uses, with its chat template.
        layout: the job's folders.
        path: path of its dataset in the manifest, for errors.

    Raises:
        TrainerError: a store refuses or does not answer.
    """
    if stage.dataset.held_out_from_stage is not None:
        return None
    found = [
        (below, origin.find(source, layout, field_below(path, below))) for below, source in stage.dataset.sources()
    ]
    origins = {below: each for below, each in found if each is not None}
    if len(origins) < len(found):
        return None
    dataset = _pinned(stage.dataset, origins)
    content = {
        "version": VERSION,
        "sources": [each.digest for each in origins.values()],
        "dataset": dataset.model_dump(mode="json"),
        "needs": _needs(stage),
        "tokenizer": tokenizer_digest(tokenizer),
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Identity(key, dataset, list(origins.values()))


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 over all that the tokenizer saves: vocabulary, merges, special tokens, chat template."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as name:
        tokenizer.save_pretrained(name)
        for path in sorted(Path(name).rglob("*")):
            if path.is_file():
                digest.update(path.relative_to(name).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _pinned(dataset: Dataset, origins: dict[str, Origin]) -> Dataset:
    changes: dict[str, Any] = {}
    for below, each in origins.items():
        if below == "":
            changes["hugging_face"] = each.source.hugging_face
        elif below == "evalDataset":
            changes["eval_dataset"] = each.source
    if dataset.mixture is not None:
        changes["mixture"] = [origins[f"mixture[{index}]"].source for index in range(len(dataset.mixture))]
    return dataset.model_copy(update=changes)


def _needs(stage: Stage) -> dict[str, Any]:
    """What rows become for the method, beyond what its dataset says."""
    return {
        "columns": table.schema(stage).names,
        "evaluation": stage.evaluate is not None,
        "maxLength": limits.max_length(stage),
        "leavesLongRowsOut": limits.leaves_long_rows_out(stage),
        "needsRoom": limits.needs_room_after_prompt(stage),
    }
