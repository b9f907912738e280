"""Passes a child's output through, without secrets, and keeps its end."""

from __future__ import annotations

import threading
from collections import deque
from typing import IO, Final

from ..failures.classify import is_collective_timeout
from .masking import Mask

TAIL_LINES: Final = 400
MAX_LINE: Final = 4000


class OutputTail:
    """Copies ``source`` to ``target`` line by line in a thread, and remembers the last lines.

    Attributes:
        collective_timeout: set by a line that says that a collective was waited for in vain.
    """

    def __init__(self, source: IO[bytes], target: IO[bytes], mask: Mask) -> None:
        self.collective_timeout = threading.Event()
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._source = source
        self._target = target
        self._mask = mask
        self._thread = threading.Thread(target=self._copy, name="output", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The last lines so far."""
        return "".join(list(self._lines))

    def drain(self, timeout: float) -> None:
        """Wait until the source is closed, ``timeout`` seconds at most: a stray process may hold it open."""
        self._thread.join(timeout)

    def _copy(self) -> None:
        for raw in iter(self._source.readline, b""):
            line = self._mask.bytes(raw)
            self._target.write(line)
            self._target.flush()
            text = line.decode(errors="replace")
            if is_collective_timeout(text):
                self.collective_timeout.set()
            self._lines.append(text[:MAX_LINE])
