"""Rows on disk: from files in the order they were read to a folder in the order they are used, in bounded memory.

Rows are dealt to so many spill files that each fits in memory, by their place in the new order; then each is read,
sorted and written. Every file is read and written once, from its beginning to its end, which network volumes are good
at, and no page of it stays mapped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from .dataset_folder import DatasetFolder
from .facts import Indices
from .table import WHERE, Columns, finished

SPILL_BYTES: Final = 64 << 20
"""Rows sorted at a time."""
_MOST_SPILLS: Final = 256
"""Files open at once; beyond it spill files grow."""
_PLACE: Final = "place"


class RowFile(NamedTuple):
    """A file of rows in the columns of `table.schema`."""

    path: Path
    rows: int
    bytes: int


def places(files: Sequence[RowFile], rows: Indices) -> Iterator[tuple[int, str]]:
    """Each of ``rows`` (sorted) with where it was found."""
    start = 0
    for file in files:
        wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + file.rows)] - start
        if len(wanted):
            found = _read(file.path, [WHERE])[WHERE].take(pa.array(wanted)).to_pylist()
            yield from zip((wanted + start).tolist(), found, strict=True)
        start += file.rows


def write_dataset(files: Sequence[RowFile], order: Indices, columns: Columns, folder: Path, fingerprint: str) -> None:
    """Write rows to a folder that ``datasets.load_from_disk`` opens.

    Args:
        files: the rows to choose from.
        order: numbers of the rows to write, counted over all files, in their new order; not empty.
        columns: which columns they get.
        folder: the folder; it must not exist.
        fingerprint: what `datasets` tells this content from others by.
    """
    scratch = folder / ".spill"
    scratch.mkdir(parents=True)
    shards = DatasetFolder(folder)
    for spill in _spill(files, order, scratch):
        table = _read(spill)
        spill.unlink()
        table = table.take(pa.array(np.argsort(table[_PLACE].to_numpy(), kind="stable")))
        shards.write(finished(table.drop_columns([_PLACE]), columns))
    scratch.rmdir()
    shards.finish(fingerprint)


def _spill(files: Sequence[RowFile], order: Indices, folder: Path) -> list[Path]:
    total = sum(file.rows for file in files)
    position = np.full(total, -1, dtype=np.int64)
    position[order] = np.arange(len(order))
    count = int(np.clip(sum(file.bytes for file in files) * len(order) // total // SPILL_BYTES + 1, 1, _MOST_SPILLS))
    size = -(-len(order) // count)
    paths = [folder / f"{number}.arrow" for number in range(-(-len(order) // size))]
    with ExitStack() as stack:
        writers: dict[int, Any] = {}
        start = 0
        for file in files:
            here = position[start : start + file.rows]
            start += file.rows
            chosen = np.flatnonzero(here >= 0)
            if not len(chosen):
                continue
            chosen = chosen[np.argsort(here[chosen], kind="stable")]
            table = _read(file.path).take(pa.array(chosen)).append_column(_PLACE, pa.array(here[chosen]))
            spill_of = here[chosen] // size
            for number, first in zip(*np.unique(spill_of, return_index=True), strict=True):
                rows = table.slice(first, int(np.count_nonzero(spill_of == number)))
                if number not in writers:
                    writers[number] = stack.enter_context(pa.ipc.new_file(str(paths[number]), table.schema))
                writers[number].write_table(rows)
    return paths


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The table in a file, or some of its columns; in memory of its own, not mapped."""
    with pa.OSFile(str(path)) as source:
        reader = pa.ipc.open_file(source)
        if columns is None:
            return reader.read_all()
        fields = [reader.schema.get_field_index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source, options=options).read_all()
