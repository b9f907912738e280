"""Reads a dataset's rows, one at a time, from the hub, the workspace, a ConfigMap or the manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment_api.contract import CONFIG_MAPS_MOUNT, JobLayout, Problem, token_variable
from alignment_api.v1alpha1 import Dataset
from alignment_api.v1alpha1.dataset import HuggingFaceDataset

from .. import hub
from ..exceptions import DataError
from .files import SUFFIXES, read_file


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


def describe(dataset: Dataset) -> str:
    """The source in one line, for reports."""
    if dataset.hugging_face is not None:
        return f"{dataset.hugging_face.name}, split {dataset.hugging_face.split}"
    if dataset.volume is not None:
        return dataset.volume.path
    if dataset.config_map is not None:
        return f"ConfigMap {dataset.config_map.name}, key {dataset.config_map.key}"
    return "inline rows"


def read(dataset: Dataset, layout: JobLayout, field: str) -> Iterator[SourceItem]:
    """Every row of ``dataset``, which is not of the kind ``heldOutFromStage``.

    Args:
        dataset: where the rows are.
        layout: the job's folders; hub datasets are cached in its cache.
        field: path of the dataset in the manifest, for errors.

    Raises:
        DataError: there is no such file, key or dataset, or it cannot be read at all.
        UnavailableError: the hub cannot be reached and the dataset is not in the cache.
    """
    if dataset.hugging_face is not None:
        yield from _hub(dataset.hugging_face, layout, f"{field}.huggingFace")
    elif dataset.volume is not None:
        root = layout.workspace / dataset.volume.path
        for path in _volume_files(root, dataset.volume.path, f"{field}.volume.path"):
            yield from _file(path, path.relative_to(layout.workspace).as_posix(), f"{field}.volume.path")
    elif dataset.config_map is not None:
        source = dataset.config_map
        path = CONFIG_MAPS_MOUNT / source.name / source.key
        if not path.is_file():
            raise _error(
                f"{field}.configMap", f"ConfigMap {source.name} has no key {source.key}: add the key or name another"
            )
        yield from _file(path, f"{source.name}/{source.key}", f"{field}.configMap.key")
    elif dataset.inline is not None:
        for number, row in enumerate(dataset.inline.rows, start=1):
            yield SourceItem(f"inline row {number}", row)


def _file(path: Path, name: str, field: str) -> Iterator[SourceItem]:
    if path.suffix not in SUFFIXES:
        raise _error(field, f"{name} is not a file of rows: its name must end in {', '.join(SUFFIXES)}")
    try:
        for where, value, error in read_file(path):
            yield SourceItem(f"{name} {where}", value, error)
    except (OSError, ValueError, RecursionError) as error:
        raise _error(field, f"{name} cannot be read: {error}") from error


def _volume_files(root: Path, name: str, field: str) -> list[Path]:
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise _error(field, f"{name} does not exist in the workspace volume: write the data there or correct the path")
    paths = sorted(path for path in root.iterdir() if path.suffix in SUFFIXES)
    suffixes = sorted({path.suffix for path in paths})
    if len(suffixes) != 1:
        found = f"files of several kinds ({', '.join(suffixes)})" if suffixes else f"no {', '.join(SUFFIXES)} files"
        raise _error(field, f"the folder {name} holds {found}: it must hold files of one kind")
    return paths


def _hub(source: HuggingFaceDataset, layout: JobLayout, field: str) -> Iterator[SourceItem]:
    import datasets

    token = os.environ.get(token_variable(source.token_secret_ref)) if source.token_secret_ref else None
    with hub.errors_explained(field, f"dataset {source.name}", has_token=token is not None):
        rows = datasets.load_dataset(
            source.name,
            source.subset,
            split=source.split,
            revision=source.revision,
            token=token,
            cache_dir=str(layout.cache / "datasets"),
        )
    for number, row in enumerate(rows, start=1):
        yield SourceItem(f"row {number}", row)


def _error(field: str, message: str) -> DataError:
    return DataError(message, [Problem(field=field, message=message)])
