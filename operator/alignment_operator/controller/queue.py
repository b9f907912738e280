"""A queue of keys to look at: each once, one worker a key, with wake-ups and backoff."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF_SECONDS: Final = 0.5
LONGEST_BACKOFF_SECONDS: Final = 15.0


class WorkQueue(Generic[K]):
    """Keys that wait for a worker.

    A key that is added while it waits is not added twice; one that is added while a worker has it comes again when
    the worker is done. A key that failed is held back for an exponentially growing time, whatever events arrive:
    the retry sees all of them. The queue belongs to one event loop and is not thread-safe.
    """

    def __init__(self, first_backoff: float = FIRST_BACKOFF_SECONDS, longest_backoff: float = LONGEST_BACKOFF_SECONDS):
        self._first_backoff = first_backoff
        self._longest_backoff = longest_backoff
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._held: dict[K, asyncio.TimerHandle] = {}
        self._alarms: dict[K, asyncio.TimerHandle] = {}
        self._arrival = asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait for a worker."""
        return len(self._ready)

    def add(self, key: K) -> None:
        """Have the key looked at soon."""
        if key in self._waiting or key in self._held:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._ready.append(key)
            self._arrival.set()

    def wake(self, key: K, delay: float | None) -> None:
        """Have the key looked at in ``delay`` seconds; this replaces its earlier wake-up, None only removes that."""
        if (alarm := self._alarms.pop(key, None)) is not None:
            alarm.cancel()
        if delay is not None:
            self._alarms[key] = asyncio.get_running_loop().call_later(delay, self._ring, key)

    async def get(self) -> K:
        """The next key; the caller works on it until it calls ``done`` or ``failed``."""
        while not self._ready:
            self._arrival.clear()
            await self._arrival.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on the key succeeded."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: K, at_least: float = 0.0) -> float:
        """The work on the key failed: it comes again later; returns after how many seconds.

        Args:
            at_least: how many seconds that must be, as far as the longest backoff allows.
        """
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(max(self._first_backoff * 2.0 ** min(count, 32), at_least), self._longest_backoff)
        self._waiting.discard(key)
        self._working.discard(key)
        self._held[key] = asyncio.get_running_loop().call_later(delay, self._let_go, key)
        return delay

    def close(self) -> None:
        """Cancel all wake-ups."""
        for timer in (*self._alarms.values(), *self._held.values()):
            timer.cancel()
        self._alarms.clear()
        self._held.clear()

    def _ring(self, key: K) -> None:
        del self._alarms[key]
        self.add(key)

    def _let_go(self, key: K) -> None:
        del self._held[key]
        self.add(key)

    def _release(self, key: K) -> None:
        self._working.discard(key)
        if key in self._waiting:
            self._ready.append(key)
            self._arrival.set()
