"""Rows of a key of a ConfigMap, which the operator mounts into Prepare's Pod."""

from __future__ import annotations

from collections.abc import Iterator

from alignment_api.contract import CONFIG_MAPS_MOUNT
from alignment_api.v1alpha1.dataset import ConfigMapDataset

from .item import SourceItem, data_error
from .opened import local_items


def read(source: ConfigMapDataset, field: str) -> Iterator[SourceItem]:
    """The rows of the key, which is named like a file."""
    path = CONFIG_MAPS_MOUNT / source.name / source.key
    if not path.is_file():
        raise data_error(field, f"ConfigMap {source.name} has no key {source.key}: add the key or name another")
    yield from local_items(path, f"{source.name}/{source.key}", f"{field}.key")
