"""What an evaluation may spend on a judge, and has spent over all its attempts.

Each attempt keeps a file of its own: a line before a request is sent, and one when it is answered.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Spent:
    """What was spent.

    Attributes:
        calls: requests sent, answered or not.
        tokens_in: tokens of requests, as the endpoint counts them.
        tokens_out: tokens of answers.
        rulings: answers that were rulings.
    """

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    rulings: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of requests and answers."""
        return self.tokens_in + self.tokens_out

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))


def spent(folder: Path) -> Spent:
    """What an evaluation has spent on a judge, of whom ``folder`` is the ledger."""
    return sum((_entry(line) for path in folder.glob("*.jsonl") for line in _lines(path)), Spent())


class Ledger:
    """Notes what an attempt spends.

    Args:
        folder: the judge's ledger, made if need be.
        attempt: number of the attempt.

    Attributes:
        total: what all attempts have spent.
    """

    def __init__(self, folder: Path, attempt: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.total = spent(folder)
        path = folder / f"attempt-{attempt}.jsonl"
        self._file = path.open("a")
        if path.stat().st_size:
            self._file.write("\n")  # the last line may be torn

    def note(self, entry: Spent) -> None:
        """Add ``entry``; a process that is killed after this has noted it."""
        self.total += entry
        counts = {item.name: getattr(entry, item.name) for item in fields(entry)}
        self._file.write(json.dumps({name: count for name, count in counts.items() if count}) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Wait until all that was noted has reached the volume."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Budget:
    """What may still be spent.

    Args:
        ledger: what was spent.
        max_calls: most requests of the whole evaluation.
        max_tokens: most tokens of the whole evaluation.
    """

    def __init__(self, ledger: Ledger, max_calls: int | None, max_tokens: int | None) -> None:
        self._ledger = ledger
        self._max_calls = max_calls
        self._max_tokens = max_tokens
        self._held_calls = 0
        self._held_tokens = 0
        self._changed = asyncio.Event()

    async def reserve(self, calls: int, tokens: int) -> bool:
        """Set requests aside as `hold` does, but wait while requests under way may turn out cheaper than was held.

        Whoever holds something already must not wait here: two of them would wait for each other.
        """
        while not self.hold(calls, tokens):
            if not self._covers(calls, tokens):
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def hold(self, calls: int, tokens: int) -> bool:
        """Set ``calls`` requests aside, of ``tokens`` tokens in all at most; False if that is too much."""
        if not self._covers(self._held_calls + calls, self._held_tokens + tokens):
            return False
        self._held_calls += calls
        self._held_tokens += tokens
        return True

    def release(self, calls: int, tokens: int) -> None:
        """Give back what was held and is not needed."""
        self._held_calls -= calls
        self._held_tokens -= tokens
        self._changed.set()

    def begin(self) -> None:
        """Note a request that was held, before it is sent."""
        self._held_calls -= 1
        self._ledger.note(Spent(calls=1))

    def settle(self, tokens: int, cost: Spent) -> None:
        """Note what a request did cost for which ``tokens`` were held."""
        if cost != Spent():
            self._ledger.note(cost)
        self.release(0, tokens)

    def count_ruling(self) -> None:
        """Note that a request has brought a ruling."""
        self._ledger.note(Spent(rulings=1))

    def sync(self) -> None:
        """Wait until what was noted has reached the volume."""
        self._ledger.sync()

    def _covers(self, calls: int, tokens: int) -> bool:
        used = self._ledger.total
        return (self._max_calls is None or used.calls + calls <= self._max_calls) and (
            self._max_tokens is None or used.tokens + tokens <= self._max_tokens
        )


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()


def _entry(line: str) -> Spent:
    try:
        value: Any = json.loads(line)
        return Spent(**{item.name: int(value.get(item.name, 0)) for item in fields(Spent)})
    except (ValueError, TypeError, AttributeError):
        return Spent()  # torn when the process was killed
