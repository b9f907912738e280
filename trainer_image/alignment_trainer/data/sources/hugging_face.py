"""Rows of a dataset on the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from alignment_api.contract import token_variable
from alignment_api.v1alpha1.dataset import HuggingFaceDataset

from ... import hub
from .item import SourceItem


def read(source: HuggingFaceDataset, cache: Path, field: str, *, stream: bool) -> Iterator[SourceItem]:
    """The rows of the split.

    Args:
        source: the dataset.
        cache: where downloads are kept.
        field: path of the source in the manifest.
        stream: read only what is asked for, over the network, instead of downloading the split first.
    """
    import datasets

    token = os.environ.get(token_variable(source.token_secret_ref)) if source.token_secret_ref else None
    with hub.errors_explained(field, f"dataset {source.name}", has_token=token is not None):
        rows = datasets.load_dataset(
            source.name,
            source.subset,
            split=source.split,
            revision=source.revision,
            token=token,
            cache_dir=str(cache / "datasets"),
            streaming=stream,
        )
        for number, row in enumerate(rows, start=1):
            yield SourceItem(f"row {number}", row)
