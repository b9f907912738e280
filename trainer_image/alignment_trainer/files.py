"""Writing files so that a reader sees all of the old content or all of the new; folders that share their files."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path


def write_atomically(path: Path, text: str, *, durable: bool = False) -> None:
    """Replace ``path`` with ``text`` in one step.

    Args:
        path: the file; its folder must exist.
        text: the new content.
        durable: also wait until the content has reached the volume.
    """
    # In every Pod the supervisor is process 1; several may write one file of the job, its report.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)


def link_tree(source: Path, target: Path) -> None:
    """Copy a folder of files that nobody changes; its files are shared by hard links where the volume can."""
    shutil.copytree(source, target, copy_function=link_or_copy)


def link_or_copy(source: str | Path, target: str | Path) -> str:
    """Copy a file that nobody changes, sharing it if the volume can; the copy's path."""
    try:
        os.link(source, target)
    except OSError:  # the volume has no hard links
        shutil.copy2(source, target)
    return str(target)
