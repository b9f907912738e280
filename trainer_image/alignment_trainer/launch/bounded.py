"""Work that may never come back, such as a write to a volume that hangs, in a thread that is then left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, TypeVar

Result = TypeVar("Result")


def within(seconds: float, tasks: Mapping[str, Callable[[], Result]]) -> dict[str, Result]:
    """Do all ``tasks`` at once and return the results of those that came back in time without an exception.

    Args:
        seconds: for all of them together.
        tasks: by name.
    """
    results: dict[str, Result] = {}

    def run(name: str, task: Callable[[], Result]) -> None:
        results[name] = task()

    # Daemons: a process may end while they hang, unlike with the threads of concurrent.futures.
    threads = [threading.Thread(target=run, args=entry, name=entry[0], daemon=True) for entry in tasks.items()]
    deadline = monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    return {name: results[name] for name in tasks if name in results}


def done_within(seconds: float, task: Callable[[], Any]) -> bool:
    """Whether ``task`` came back in time without an exception."""
    return bool(within(seconds, {"task": task}))
