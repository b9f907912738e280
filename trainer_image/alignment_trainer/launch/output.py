"""Passes a child's output through and keeps its end."""

from __future__ import annotations

import threading
from collections import deque
from typing import IO, Final

TAIL_LINES: Final = 400
MAX_LINE: Final = 4000


class OutputTail:
    """Copies ``source`` to ``target`` line by line in a thread, and remembers the last lines."""

    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._source = source
        self._target = target
        self._thread = threading.Thread(target=self._copy, name="output", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The last lines so far."""
        return "".join(list(self._lines))

    def drain(self, timeout: float) -> None:
        """Wait until the source is closed, ``timeout`` seconds at most: a stray process may hold it open."""
        self._thread.join(timeout)

    def _copy(self) -> None:
        for line in iter(self._source.readline, b""):
            self._target.write(line)
            self._target.flush()
            self._lines.append(line[:MAX_LINE].decode(errors="replace"))
