"""The processes below the supervisor. As PID 1, or as a subreaper elsewhere, it inherits every orphan among them."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36


def become_subreaper() -> None:
    """Let orphans among the descendants become children of this process, as they do of PID 1."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(ancestor: int | None = None) -> list[int]:
    """Every process below ``ancestor``, nearest first; below this one unless told otherwise."""
    parents = _parents()
    found = [os.getpid() if ancestor is None else ancestor]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


def signal_all(number: signal.Signals) -> None:
    """Send a signal to every descendant."""
    for pid in descendants():
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def reap_orphans(child: int) -> None:
    """Collect dead orphans; the status of ``child`` is left to its own waiter."""
    with suppress(ChildProcessError):  # there are no children
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid == child:
                return
            os.waitpid(dead.si_pid, 0)


def _parents() -> dict[int, int]:
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # The name, in parentheses, may hold spaces; the parent follows the state after it.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            parents[int(folder.name)] = int(fields[1])
    return parents
