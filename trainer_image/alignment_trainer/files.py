"""Writing files so that a reader sees all of the old content or all of the new."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, text: str, *, durable: bool = False) -> None:
    """Replace ``path`` with ``text`` in one step.

    Args:
        path: the file; its folder must exist.
        text: the new content.
        durable: also wait until the content has reached the volume.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)
