"""Leader election against a server that is slow, loses requests and answers, and carries requests out late."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from alignment_operator.cluster.client import Client
from alignment_operator.cluster.election import Election, Timing
from alignment_operator.cluster.lease import LeaseKey, LeaseStore
from alignment_operator.exceptions import ConflictError, LeadershipLostError, NotFoundError, UnavailableError

from .virtual_time import run_in_virtual_time

TIMING = Timing()


class ApiServer:
    """One Lease, changed only by who names its resourceVersion."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0

    def serve(self, verb: str, body: Any) -> dict[str, Any]:
        """Carry a request out."""
        if verb == "GET":
            if self.lease is None:
                raise NotFoundError("no Lease")
            return copy.deepcopy(self.lease)
        known = body["metadata"].get("resourceVersion")
        if known != (self.lease["metadata"]["resourceVersion"] if self.lease else None):
            raise ConflictError("changed")
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)


class Network(Client):
    """A way to the API server on which requests and answers take their time or are lost."""

    def __init__(self, server: ApiServer, latency: Callable[[], float], lost: Callable[[], bool]) -> None:
        self.server, self.latency, self.lost = server, latency, lost

    async def request(self, verb: str, path: str, *, doing: str, **more: Any) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[dict[str, Any]] = loop.create_future()

        def arrive(body: Any = copy.deepcopy(more.get("body"))) -> None:  # noqa: B008
            try:
                result: Any = self.server.serve(verb, body)
                settle: Any = answer.set_result
            except (NotFoundError, ConflictError) as error:
                result, settle = error, answer.set_exception
            if not self.lost():
                loop.call_later(self.latency(), lambda: None if answer.done() else settle(result))

        if not self.lost():
            loop.call_later(self.latency(), arrive)  # also when nobody waits for the answer any more
        try:
            async with asyncio.timeout(more["timeout_seconds"]):
                return await answer
        except TimeoutError:
            raise UnavailableError(f"cannot {doing}") from None


class Replica:
    """An operator that takes part, and begins anew when it loses."""

    def __init__(self, name: str, network: Network, clock: Callable[[], float]) -> None:
        self.name, self.network, self.clock = name, network, clock
        self.election = self._candidate()

    def _candidate(self) -> Election:
        return Election(
            LeaseStore(self.network, LeaseKey("system", "operator", self.name)),
            self.name,
            lambda: None,
            TIMING,
            self.clock,
        )

    async def run(self, chance: random.Random) -> None:
        while True:
            self.election = self._candidate()
            await self.election.acquire()
            try:
                async with asyncio.timeout(chance.uniform(5, 60)):
                    await self.election.hold()
            except LeadershipLostError:
                continue
            except TimeoutError:  # stopped gracefully, or killed
                if chance.random() < 0.5:
                    await self.election.release()
            await asyncio.sleep(chance.uniform(0, 5))


@pytest.mark.parametrize("seed", range(12))
def test_never_two_lead_and_soon_one_does_again(seed: int) -> None:
    """Whatever is lost, late, stopped or killed, with clocks that differ by hours and by a tenth in speed."""
    chance = random.Random(seed)
    trouble = True

    async def history() -> None:
        nonlocal trouble
        loop = asyncio.get_running_loop()
        server = ApiServer()
        replicas = []
        for number in range(3):
            speed, offset = chance.uniform(0.95, 1.05), chance.uniform(-9999, 9999)
            network = Network(
                server,
                lambda: chance.choice((0.0, 0.05, 0.3, 2.5)) if trouble else 0.01,
                lambda: trouble and chance.random() < 0.15,
            )
            replicas.append(Replica(str(number), network, lambda s=speed, o=offset: loop.time() * s + o))  # type: ignore[misc]
        tasks = [asyncio.create_task(replica.run(chance)) for replica in replicas]
        led = set()
        for moment in range(2000):
            await asyncio.sleep(chance.uniform(0.01, 0.4))
            leaders = [replica.name for replica in replicas if replica.election.leading]
            assert len(leaders) <= 1, f"{leaders} lead after {moment} moments"
            led |= set(leaders)
        assert len(led) >= 2, "the leadership went round"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        trouble = False
        last = Replica("last", Network(server, lambda: 0.01, lambda: False), loop.time)
        begun = loop.time()
        await last.election.acquire()
        assert loop.time() - begun < TIMING.duration + TIMING.retry

    run_in_virtual_time(history())


def test_a_holder_that_cannot_renew_is_told_at_its_deadline_and_the_other_takes_over_later() -> None:
    async def history() -> None:
        loop = asyncio.get_running_loop()
        server, cut, lost_at = ApiServer(), [False], list[float]()
        key = LeaseKey("system", "operator", "one")
        one = Election(
            LeaseStore(Network(server, lambda: 0.01, lambda: cut[0]), key),
            "one",
            lambda: lost_at.append(loop.time()),
            TIMING,
            loop.time,
        )
        two = Replica("two", Network(server, lambda: 0.01, lambda: False), loop.time).election
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(30)
        assert one.leading, "renewals go on"
        assert not waiting.done()
        cut[0], cut_at = True, loop.time()
        await waiting
        taken_at = loop.time()
        assert cut_at + TIMING.renew_deadline - TIMING.retry - 1 < lost_at[0] <= cut_at + TIMING.renew_deadline
        assert lost_at[0] + 2 < taken_at <= cut_at + TIMING.duration + TIMING.retry
        with pytest.raises(LeadershipLostError, match="one"):
            await holding

    run_in_virtual_time(history())


def test_a_lease_given_back_is_taken_at_the_next_look_and_ones_own_at_once() -> None:
    async def history() -> None:
        loop = asyncio.get_running_loop()
        server = ApiServer()

        def candidate(name: str) -> Election:
            return Replica(name, Network(server, lambda: 0.01, lambda: False), loop.time).election

        one, two = candidate("one"), candidate("two")
        await one.acquire()
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(1)
        await one.release()
        assert not one.leading
        released = loop.time()
        await waiting
        assert loop.time() - released <= TIMING.retry
        begun = loop.time()
        await candidate("two").acquire()  # its container was started again
        assert loop.time() - begun < 0.1
        assert server.lease is not None
        assert server.lease["spec"]["leaseTransitions"] == 1

    run_in_virtual_time(history())
