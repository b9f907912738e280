"""Rows of files in the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alignment_api.v1alpha1.dataset import VolumeDataset

from .item import SourceItem, data_error
from .opened import local_items, of_one_kind


def read(source: VolumeDataset, workspace: Path, field: str) -> Iterator[SourceItem]:
    """The rows of a file, or of the files in a folder in the order of their names."""
    root = workspace / source.path
    for path in _files(root, source.path, f"{field}.path"):
        yield from local_items(path, path.relative_to(workspace).as_posix(), f"{field}.path")


def _files(root: Path, name: str, field: str) -> list[Path]:
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise data_error(
            field, f"{name} does not exist in the workspace volume: write the data there or correct the path"
        )
    names = [path.name for path in root.iterdir() if path.is_file()]
    return [root / name for name in of_one_kind(names, f"the folder {name}", field)]
