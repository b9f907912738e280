"""Writes the folder that ``datasets.load_from_disk`` opens, table by table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

SHARD_BYTES: Final = 500 << 20
_BATCH: Final = 1000
"""Rows in a record batch, by which readers find rows."""
_STATE: Final = "state.json"


class DatasetFolder:
    """What ``Dataset.save_to_disk`` leaves, for rows that no Dataset holds: it would map every file of them.

    Args:
        folder: the folder; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: list[Path] = []
        self._schema: pa.Schema | None = None
        self._file: Any = None
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        """Append rows; all tables have the same columns."""
        if self._schema is None:
            self._schema = self._begin(table.schema)
        if self._writer is None:
            self._shards.append(self._folder / f"data-{len(self._shards):05d}.arrow")
            self._file = self._shards[-1].open("wb")
            self._writer = pa.ipc.new_stream(self._file, self._schema)
        self._writer.write_table(table.combine_chunks().cast(self._schema), max_chunksize=_BATCH)
        if self._file.tell() > SHARD_BYTES:
            self._close()

    def finish(self, fingerprint: str) -> None:
        """Make the folder readable, under the name by which `datasets` keeps what it computes from it."""
        self._close()
        state = json.loads((self._folder / _STATE).read_text())
        state["_data_files"] = [{"filename": path.name} for path in self._shards]
        state["_fingerprint"] = fingerprint
        (self._folder / _STATE).write_text(json.dumps(state, indent=2, sort_keys=True))

    def _begin(self, schema: pa.Schema) -> pa.Schema:
        """Let `datasets` describe the columns, in a folder without rows; the schema with its description."""
        import datasets

        features = datasets.Features.from_arrow_schema(schema.remove_metadata())
        described: pa.Schema = features.arrow_schema
        empty = datasets.Dataset(described.empty_table())
        empty.save_to_disk(str(self._folder), num_shards=1)
        for file in self._folder.glob("*.arrow"):
            file.unlink()
        return described

    def _close(self) -> None:
        """End the file that is being written, and wait until it has reached the volume."""
        if self._writer is not None:
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._writer = self._file = None
