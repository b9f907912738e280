"""Where rows come from: one module each for the hub, the workspace, an S3 store, a ConfigMap and the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from alignment_api.contract import JobLayout
from alignment_api.v1alpha1.dataset import DatasetSource, RowSource

from ..columns import rename
from ..rows import RowError
from . import config_map, hugging_face, inline, s3, volume
from .item import SourceItem


def describe(source: RowSource) -> str:
    """The source in one line, for reports."""
    if source.hugging_face is not None:
        return f"{source.hugging_face.name}, split {source.hugging_face.split}"
    if source.volume is not None:
        return source.volume.path
    if source.s3 is not None:
        return f"s3://{source.s3.bucket}/{source.s3.key}"
    if source.config_map is not None:
        return f"ConfigMap {source.config_map.name}, key {source.config_map.key}"
    return "inline rows"


def read(
    source: RowSource, layout: JobLayout, field: str, *, stream: bool = False, limit: int | None = None
) -> Iterator[SourceItem]:
    """Every row of ``source``, in its order, its columns renamed as ``columns`` asks for.

    Args:
        source: where the rows are.
        layout: the job's folders; downloads are kept in its cache.
        field: path of the source in the manifest, for errors.
        stream: read the hub and S3 row by row instead of downloading all of it first.
        limit: how many rows to read at most.

    Raises:
        DataError: there is no such file, key or dataset, or it cannot be read at all.
        ConfigurationError: the hub or the store refuses access.
        UnavailableError: the hub or the store cannot be reached, and the rows are not in the cache.
    """
    columns = source.columns if isinstance(source, DatasetSource) else None
    for item in islice(_items(source, layout, field, stream), limit):
        yield _renamed(item, columns) if columns else item


def _items(source: RowSource, layout: JobLayout, field: str, stream: bool) -> Iterator[SourceItem]:
    if source.hugging_face is not None:
        return hugging_face.read(source.hugging_face, layout.cache, f"{field}.huggingFace", stream=stream)
    if source.volume is not None:
        return volume.read(source.volume, layout.workspace, f"{field}.volume")
    if source.s3 is not None:
        return s3.read(source.s3, layout.cache, f"{field}.s3", stream=stream)
    if source.config_map is not None:
        return config_map.read(source.config_map, f"{field}.configMap")
    return inline.read(source.inline) if source.inline is not None else iter(())


def _renamed(item: SourceItem, columns: dict[str, str]) -> SourceItem:
    try:
        return item if item.value is None else replace(item, value=rename(item.value, columns))
    except RowError as error:
        return replace(item, value=None, error=str(error))


__all__ = ["SourceItem", "describe", "read"]
