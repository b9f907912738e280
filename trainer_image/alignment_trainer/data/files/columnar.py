"""Parquet and Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from .row import FileRow

_BATCH: Final = 1024
"""Rows that are Python objects at a time."""

_ARROW_FILE: Final = b"ARROW1"
"""How the file kind of Arrow IPC begins; the stream kind, which `datasets` writes, begins otherwise."""


def parquet(file: BinaryIO) -> Iterator[FileRow]:
    """The rows of a Parquet file.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as source:
        yield from _rows(source.iter_batches(batch_size=_BATCH))


def arrow(file: BinaryIO) -> Iterator[FileRow]:
    """The rows of an Arrow IPC stream or file.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow

    start = file.read(len(_ARROW_FILE))
    file.seek(0)
    if start == _ARROW_FILE:
        with pyarrow.ipc.open_file(file) as source:
            yield from _rows(source.get_batch(index) for index in range(source.num_record_batches))
    else:
        with pyarrow.ipc.open_stream(file) as source:
            yield from _rows(source)


def _rows(batches: Any) -> Iterator[FileRow]:
    number = 0
    for batch in batches:
        batch.validate(full=True)  # a damaged file must not reach memory that is not its own
        for start in range(0, batch.num_rows, _BATCH):
            for row in batch.slice(start, _BATCH).to_pylist():
                number += 1
                yield FileRow(f"row {number}", row)
