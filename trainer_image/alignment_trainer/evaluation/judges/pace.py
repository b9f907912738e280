"""When the next request to an endpoint may be sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

WINDOW = 60.0
"""Seconds in which requests are counted."""


class Pace:
    """Spreads requests evenly: no window of a minute holds more than ``per_minute`` of them.

    Args:
        per_minute: most requests in a minute; None for any number.
        clock: monotonic seconds.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = WINDOW / per_minute if per_minute is not None else 0.0
        self._clock = clock
        self._next = 0.0
        self._resumes = 0.0

    async def turn(self) -> None:
        """Wait until a request may be sent."""
        while True:
            slot = max(self._clock(), self._next, self._resumes)
            self._next = slot + self._interval
            await asyncio.sleep(max(slot - self._clock(), 0))
            if self._resumes <= slot:
                return  # or else the endpoint asked to wait meanwhile

    def pause(self, seconds: float) -> None:
        """Send nothing for ``seconds``, whoever waits for a turn."""
        self._resumes = max(self._resumes, self._clock() + seconds)
