"""What a measured run took."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

from .memory import Peak


@dataclass(frozen=True)
class Cost:
    """What a run took.

    Attributes:
        seconds: from its beginning to its end, start-up included.
        processor_seconds: of all its processes.
        peak_bytes: most memory of all its processes together.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int


class Clock:
    """Seconds since it was made, by the wall and by the processors of processes that have ended."""

    def __init__(self) -> None:
        self._begin, self._used = time.monotonic(), _processor_seconds()

    def cost(self, peak: Peak) -> Cost:
        """What was taken since then, with the most memory that was seen."""
        return Cost(time.monotonic() - self._begin, _processor_seconds() - self._used, peak.bytes)


def _processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime
