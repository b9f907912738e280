"""Applies a function to many inputs, in several processes once they turn out to be many; results come in order."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar, cast

In = TypeVar("In")
Out = TypeVar("Out")

ALONE: Final = 16
"""Inputs done before processes are started: starting them takes seconds."""
_CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def ordered_map(function: Callable[[In], Out], inputs: Iterable[In], processes: int) -> Iterator[Out]:
    """``function`` of every input.

    Inputs are drawn only a few ahead of the results taken, so memory does not grow with their number, and an input may
    depend on results that came before.

    Args:
        function: picklable; sent to each process once.
        inputs: picklable.
        processes: how many to use; 1 uses this one alone.
    """
    remaining = iter(inputs)
    yield from map(function, islice(remaining, ALONE) if processes > 1 else remaining)
    following = list(islice(remaining, 1))
    if not following:
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit locks of threads that it does not have
    with ProcessPoolExecutor(processes, context, initializer=_initialize, initargs=(function,)) as pool:
        waiting: deque[Future[Any]] = deque(pool.submit(_call, value) for value in following)
        try:
            while waiting:
                waiting.extend(pool.submit(_call, value) for value in islice(remaining, 2 * processes - len(waiting)))
                yield cast(Out, waiting.popleft().result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def available_processors() -> int:
    """Processors that this container may use, at least 1."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = _CPU_QUOTA.read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, -(-int(quota) // int(period))))


_function: Callable[[Any], Any] | None = None


def _initialize(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism


def _call(value: Any) -> Any:
    if _function is None:
        raise RuntimeError("the process was not initialized")
    return _function(value)
