"""Digests of a checkpoint's files, computed by all processes of a gang together; every process must call these.

Each process reads the partitions that bear its own rank: it wrote them, or is about to load them, so they are in its
node's page cache or will be. The other files are dealt out by size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from accelerate import PartialState
from accelerate.utils import gather_object

from .completion import FileEntry, entry_of, fault_in, sizes_in
from .distributed import agree

_RANK: Final = re.compile(r"(?:zero_pp_rank|rng_state|rollouts)[_-](\d+)")


def entries_in(folder: Path, process: PartialState) -> dict[str, FileEntry]:
    """Every file below ``folder``, on every process.

    Raises:
        OSError: a file cannot be read.
    """
    sizes = agree(sizes_in(folder) if process.is_main_process else {})
    mine = share_of(sizes, process.process_index, process.num_processes)
    return dict(sorted(gather_object([(name, entry_of(folder / name)) for name in mine])))


def fault(folder: Path, files: Mapping[str, FileEntry], process: PartialState) -> str | None:
    """What is wrong with one of the files that a marker lists, the same on every process; None if nothing is.

    Args:
        folder: the folder.
        files: what its marker lists, the same on every process.
        process: this process.
    """
    sizes = {name: entry.size for name, entry in files.items()}
    mine = share_of(sizes, process.process_index, process.num_processes)
    faults = gather_object([found for name in mine if (found := fault_in(folder, name, files[name]))])
    return str(faults[0]) if faults else None


def share_of(sizes: Mapping[str, int], rank: int, processes: int) -> list[str]:
    """The files that process ``rank`` reads.

    Args:
        sizes: bytes by name.
        rank: the process, from 0.
        processes: how many share the files.
    """
    loads = [0] * processes
    shares: list[list[str]] = [[] for _ in loads]

    def give(name: str, taker: int) -> None:
        loads[taker] += sizes[name]
        shares[taker].append(name)

    rest = []
    for name in sizes:
        match = _RANK.search(name)
        if match:
            give(name, int(match.group(1)) % processes)
        else:
            rest.append(name)
    for name in sorted(rest, key=lambda name: (-sizes[name], name)):
        give(name, loads.index(min(loads)))
    return shares[rank]
