"""Rows in the manifest."""

from __future__ import annotations

from collections.abc import Iterator

from alignment_api.v1alpha1.dataset import InlineDataset

from ..files.row import json_row
from .item import SourceItem


def read(source: InlineDataset) -> Iterator[SourceItem]:
    """The rows in their order."""
    for number, value in enumerate(source.rows, start=1):
        row = json_row(f"inline row {number}", value)
        yield SourceItem(row.where, row.value, row.error)
