"""Most memory that a tree of processes takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SAMPLE_SECONDS: Final = 0.5


@dataclass
class Peak:
    """Most bytes seen so far."""

    bytes: int = 0


@contextmanager
def watched(*pids: int) -> Iterator[Peak]:
    """Watches processes and all below them, with shared pages counted once, as long as the block lasts."""
    peak = Peak()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            peak.bytes = max(peak.bytes, sum(_memory(found) for pid in pids for found in _tree(pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in _tree(int(child)))]


def _memory(pid: int) -> int:
    """Bytes of a process, with its share of pages that others use too."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
