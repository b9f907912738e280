"""What an evaluation has found so far, batch by batch, for the attempts that go on from it.

::

    <stage>/evaluation/<part>-<digest>/<attempt>-<rank>.jsonl

One folder for each part of the evaluation, named by a digest of all that decides its numbers: what was decided by
something else lies in another folder and is never taken for it. Every process of every attempt writes a file of its
own, one line for each batch. A killed process loses its last line at most, and a lost node what it wrote within the
last second; what is torn is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_FORMAT: Final = 1
"""Part of every digest: to be raised when the same settings come to mean other numbers."""
_SYNC_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Batch:
    """A finished batch.

    Attributes:
        results: JSON values, one for each item.
        seconds: that it took.
    """

    results: list[Any]
    seconds: float


def digest_of(values: Iterable[object]) -> str:
    """SHA-256 over JSON values, one at a time."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(json.dumps(value, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


class Part:
    """A part of the evaluation on disk.

    Args:
        folder: the evaluation's folder.
        name: what the part is called.
        settings: JSON values that decide its numbers, beside the items.
        items: what it goes over; JSON values.
    """

    def __init__(self, folder: Path, name: str, settings: Mapping[str, object], items: Iterable[object]) -> None:
        self._folder = folder / f"{name}-{digest_of([_FORMAT, settings, *items])[:16]}"
        self._file: Any = None
        self._synced = time.monotonic()

    def read(self) -> dict[int, Batch]:
        """The finished batches by their numbers, whoever wrote them; lines that are no batch are passed over."""
        found: dict[int, Batch] = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as lines:
                for line in lines:
                    try:
                        entry = json.loads(line)
                        found[int(entry["batch"])] = Batch(list(entry["results"]), float(entry["seconds"]))
                    except (ValueError, KeyError, TypeError):
                        continue
        return found

    def append(self, writer: str, number: int, batch: Batch) -> None:
        """Keep a finished batch.

        Args:
            writer: what no other process of any attempt is called.
            number: the batch.
            batch: what was found.

        Raises:
            OSError: the volume is full or broken.
        """
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = (self._folder / f"{writer}.jsonl").open("a")
        line = {"batch": number, "seconds": round(batch.seconds, 6), "results": batch.results}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Let what was kept reach the volume."""
        if self._file is not None:
            self._sync()
            self._file.close()
            self._file = None

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()
