"""Leader election: one replica plans and writes, the others wait with what they know kept up to date.

The algorithm is that of client-go. A candidate never compares its clock with times that another wrote: it takes a Lease
for expired when it has seen it unchanged for the Lease's duration, by its own clock. The holder counts from before it
sent the renewal, and stops writing seconds before the others may take over.

The election of the Kubernetes client (kubernetes.aio.leaderelection, 37.0) is not used: it measures by the wall clock,
which may be set, its requests have no timeout and so outlast the deadline, and it cannot give the Lease back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from ..exceptions import ClusterError, ConflictError, LeadershipLostError, NotFoundError
from ..planning.observed import Manifest
from .lease import LeaseStore

log = logging.getLogger(__name__)

_BOOT_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_time() -> float:
    """Seconds on a clock that is never set, and that goes on while the machine is suspended."""
    return time.clock_gettime(_BOOT_CLOCK)


@dataclass(frozen=True)
class Timing:
    """In seconds.

    Attributes:
        duration: others take over when they have seen no renewal for this long.
        renew_deadline: the holder writes nothing more when its last renewal was begun this long ago. The difference to
            ``duration`` is what requests that are on their way, and clocks of different speed, may need.
        retry: between renewals, and between looks at another's Lease.
        retry_failed: until a renewal that failed is tried again.
        request: for one request for the Lease, so that one that hangs leaves time for another.
    """

    duration: int = 10
    renew_deadline: float = 7.0
    retry: float = 2.0
    retry_failed: float = 0.5
    request: float = 3.0


class Leadership(Protocol):
    """Whether this process may write."""

    @property
    def leading(self) -> bool:
        """Whether it leads at this instant."""

    async def acquire(self) -> bool:
        """Wait until this process leads; returns whether another may have led until then."""

    async def hold(self) -> NoReturn:
        """Keep leading.

        Raises:
            LeadershipLostError: that failed; nothing may be written any more.
        """

    async def release(self) -> None:
        """Let another lead at once; nothing may be written any more."""


class Alone:
    """The leadership of an operator that is the only one, which its administrator answers for."""

    leading = True

    async def acquire(self) -> bool:
        """Return at once."""
        return False

    async def hold(self) -> NoReturn:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise LeadershipLostError("nobody ends this")

    async def release(self) -> None:
        """Do nothing."""


class Election:
    """The leadership of the holder of a Lease."""

    def __init__(
        self,
        lease: LeaseStore,
        identity: str,
        on_lost: Callable[[], None],
        timing: Timing | None = None,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        """Take part in the election.

        Args:
            identity: who we are; a Lease that names us is ours, as after a restart of our container.
            on_lost: called at the very instant the leadership ends unwanted, from the event loop and before any task
                goes on. A process that was stopped for a while comes here first when it continues.
            clock: never set and never stopped.
        """
        self._lease = lease
        self._identity = identity
        self._on_lost = on_lost
        self._timing = timing or Timing()
        self._clock = clock
        self._known: Manifest | None = None
        self._known_since = 0.0
        self._leads_until: float | None = None
        self._end: asyncio.TimerHandle | None = None

    @property
    def leading(self) -> bool:
        """Whether the last renewal was begun within the deadline."""
        return self._leads_until is not None and self._clock() < self._leads_until

    async def acquire(self) -> bool:
        """Wait until the Lease is ours."""
        while True:
            try:
                if await self._take_if_free(self._timing.request):
                    log.info("%s leads", self._identity)
                    return True
            except ClusterError as error:
                log.warning("%s; trying again in %g s", error, self._pause())
            await asyncio.sleep(self._pause())

    async def hold(self) -> NoReturn:
        """Renew the Lease until that fails for too long."""
        pause = self._timing.retry
        while True:
            await asyncio.sleep(pause)
            left = self._left()
            if left <= 0:
                raise LeadershipLostError(f"{self._identity} does not lead any more: the Lease was not renewed in time")
            try:
                await self._renew(min(self._timing.request, left))
                pause = self._timing.retry
            except ClusterError as error:
                log.warning("%s; %.1f s left", error, self._left())
                pause = self._timing.retry_failed

    async def release(self) -> None:
        """Give the Lease back, if it is ours; an API server that cannot be reached sees it expire."""
        ours = self.leading
        self._leads_until = None
        if self._end is not None:
            self._end.cancel()
        if not ours or self._known is None:
            return
        try:
            await self._lease.give_back(self._known, self._timing.request)
        except ClusterError as error:
            log.warning("%s; another replica leads in %d s", error, self._timing.duration)

    async def _take_if_free(self, timeout_seconds: float) -> bool:
        self._see(await self._lease.read(timeout_seconds))
        if self._expires_in() > 0:
            return False
        await self._write(timeout_seconds)
        return True

    async def _renew(self, timeout_seconds: float) -> None:
        try:
            await self._write(timeout_seconds)
        except (ConflictError, NotFoundError):
            # Our own renewal whose answer was lost, a person, or, against the rules, another leader: then this process
            # only waits for its deadline.
            self._see(await self._lease.read(timeout_seconds))
            if self._expires_in() <= 0:
                await self._write(timeout_seconds)

    async def _write(self, timeout_seconds: float) -> None:
        begun = self._clock()
        self._see(await self._lease.take(self._known, self._timing.duration, timeout_seconds))
        self._leads_until = begun + self._timing.renew_deadline
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(self._left(), self._lost)

    def _lost(self) -> None:
        self._leads_until = None
        self._on_lost()

    def _left(self) -> float:
        return 0.0 if self._leads_until is None else self._leads_until - self._clock()

    def _see(self, lease: Manifest | None) -> None:
        if lease is None or self._known is None or lease["spec"] != self._known["spec"]:
            self._known_since = self._clock()
        self._known = lease

    def _expires_in(self) -> float:
        """Seconds until the Lease may be taken; 0 or less for one that is free or ours."""
        if self._known is None or _holder(self._known) in (self._identity, ""):
            return 0.0
        duration = float(self._known["spec"].get("leaseDurationSeconds") or self._timing.duration)
        return self._known_since + duration - self._clock()

    def _pause(self) -> float:
        left = self._expires_in()
        return min(self._timing.retry, left) if left > 0 else self._timing.retry


def _holder(lease: Manifest) -> str:
    return str(lease["spec"].get("holderIdentity") or "")
