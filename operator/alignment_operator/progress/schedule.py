"""When each gang is asked again; pure.

Most gangs answer within milliseconds. One that does not costs seconds each time, and there may be hundreds: those are
asked less and less often, and in a lane of their own, in which only they wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from .gangs import RunningGang
from .table import GangKey

INTERVAL_SECONDS: Final = 3.0
"""With the status interval of 15 s, a step is in the status within 20 s."""

LONGEST_INTERVAL_SECONDS: Final = 30.0

LONGEST_OF_PROMOTIONS_SECONDS: Final = 5.0
"""A promotion says nothing while it works, and waits 15 s at its end for its report to be fetched."""


class Lane(Enum):
    """Who shares places with whom."""

    NEW = auto()
    ANSWERING = auto()
    SILENT = auto()
    PROMOTING = auto()


class Schedule:
    """Remembers when each gang is to be asked."""

    def __init__(self) -> None:
        self._due: dict[GangKey, float] = {}
        self._misses: dict[GangKey, int] = {}
        self._being_asked: set[GangKey] = set()

    def begin(self, gangs: Iterable[RunningGang], now: float) -> list[RunningGang]:
        """Those of ``gangs`` that are to be asked now, each once; all that are not among ``gangs`` are forgotten.

        Call ``answered`` or ``missed`` for each when it was asked. A gang that two Pods claim to be is asked at the
        first of them.
        """
        known = {running.gang: running for running in reversed(tuple(gangs))}
        self._due = {gang: due for gang, due in self._due.items() if gang in known}
        self._misses = {gang: misses for gang, misses in self._misses.items() if gang in known}
        ready = [
            running
            for gang, running in known.items()
            if gang not in self._being_asked and self._due.get(gang, now) <= now
        ]
        self._being_asked |= {running.gang for running in ready}
        return ready

    def lane(self, gang: GangKey) -> Lane:
        """Where the gang waits for its turn."""
        misses = self._misses.get(gang)
        if misses is None:
            return Lane.NEW
        return Lane.SILENT if misses else Lane.ANSWERING

    def answered(self, gang: GangKey, now: float) -> None:
        """The gang gave a usable answer."""
        self._being_asked.discard(gang)
        self._misses[gang] = 0
        self._due[gang] = now + INTERVAL_SECONDS

    def missed(self, gang: GangKey, now: float, longest: float = LONGEST_INTERVAL_SECONDS) -> None:
        """It gave none: it is asked again later and later, at the latest after ``longest`` seconds."""
        self._being_asked.discard(gang)
        misses = self._misses.get(gang, 0)
        self._misses[gang] = misses + 1
        self._due[gang] = now + min(INTERVAL_SECONDS * 2.0 ** min(misses, 16), longest)
