"""The work queue: each key once, one worker a key, wake-ups and backoff."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_operator.controller.queue import WorkQueue


async def test_a_key_added_twice_comes_once() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    queue.add("b")
    queue.add("a")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_worked_on_comes_again_when_the_worker_is_done() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await queue.get() == "a"


async def test_wake_up_comes_when_it_is_due_and_the_newest_one_counts() -> None:
    queue = WorkQueue[str]()
    queue.wake("a", 60)
    queue.wake("a", 0.02)
    assert await asyncio.wait_for(queue.get(), 1) == "a"
    queue.done("a")
    queue.wake("a", 0.01)
    queue.wake("a", None)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.05)


async def test_failures_are_held_back_longer_and_longer_whatever_events_come() -> None:
    queue = WorkQueue[str](first_backoff=0.02, longest_backoff=0.05)
    queue.add("a")
    delays = []
    for _ in range(4):
        delays.append(queue.failed(await asyncio.wait_for(queue.get(), 1)))
        queue.add("a")
        assert len(queue) == 0, "an event must not cut the backoff short"
    assert delays == [0.02, 0.04, 0.05, 0.05]
    queue.done(await asyncio.wait_for(queue.get(), 1))
    queue.add("a")
    assert queue.failed(await queue.get()) == 0.02, "a success starts the backoff anew"
    queue.close()


@settings(max_examples=40, deadline=None)
@given(additions=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60), workers=st.integers(1, 4))
def test_never_two_workers_on_a_key_and_no_addition_without_a_later_look(
    additions: list[tuple[int, bool]], workers: int
) -> None:
    """Every addition is followed by a look that began after it; looks at one key never overlap."""

    async def scenario() -> None:
        queue = WorkQueue[int](first_backoff=0.001, longest_backoff=0.002)
        clock = 0
        last_addition: dict[int, int] = {}
        last_look: dict[int, int] = {}
        busy: Counter[int] = Counter()

        async def work() -> None:
            nonlocal clock
            while True:
                key = await queue.get()
                busy[key] += 1
                assert busy[key] == 1
                clock += 1
                last_look[key] = clock
                await asyncio.sleep(0)
                busy[key] -= 1
                if clock % 5 == 0:
                    queue.failed(key)
                else:
                    queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for key, pause in additions:
            clock += 1
            last_addition[key] = clock
            queue.add(key)
            if pause:
                await asyncio.sleep(0)
        for _ in range(200):
            if all(last_look.get(key, 0) > added for key, added in last_addition.items()):
                break
            await asyncio.sleep(0.001)
        for task in tasks:
            assert not task.done() or task.exception() is None
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        queue.close()
        assert all(last_look[key] > added for key, added in last_addition.items())

    asyncio.run(scenario())
