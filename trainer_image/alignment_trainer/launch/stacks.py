"""Where the training processes are, taken before they are killed.

py-spy reads the memory of another process of the same user, which takes no capability. Where the kernel's
``yama.ptrace_scope`` is 1, a process must have named its inspector (`RunFiles.enlist` does): py-spy is its sister, not
its ancestor. Where it is higher, nobody may look, and each process is asked to write its stacks itself.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from ..failures import frames
from ..run_files import WAITING_FOR_STACKS, RunFiles
from . import processes
from .bounded import within

_log = logging.getLogger(__name__)
LAUNCHER: Final = "launcher"
MAX_SECONDS: Final = 10.0
"""For the dumps of all processes of a Pod."""

_PY_SPY: Final = Path(sysconfig.get_path("scripts")) / "py-spy"
_ATTEMPT_SECONDS: Final = 4.0
_SIGNAL_SECONDS: Final = 1.0
_MAX_CHILDREN: Final = 4


class StackDumps:
    """Dumps of this Pod's processes.

    Attributes:
        texts: by rank, or `LAUNCHER` before there is any, what the last look showed.

    Args:
        files: run folder, in which training processes are enlisted.
        launcher: their launcher's process.
    """

    def __init__(self, files: RunFiles, launcher: int) -> None:
        self.texts: dict[str, str] = {}
        self._files = files
        self._launcher = launcher

    def take(self) -> None:
        """Look at every process; returns within `MAX_SECONDS`.

        The launcher is stopped meanwhile: it ends all processes once one of them has ended, and after a collective
        timeout those that wait end before the one that they waited for.
        """
        alive = processes.descendants()
        ranks = {str(rank): pid for rank, pid in self._files.enlisted().items() if pid in alive}
        if ranks:
            _signal(self._launcher, signal.SIGSTOP)
        try:
            self.texts |= self._look_at(ranks or {LAUNCHER: self._launcher})
        finally:
            if ranks:
                _signal(self._launcher, signal.SIGCONT)
        self._files.stacks_taken.touch()
        _log.warning("stacks: %s", self.where() or "of no process could any be taken")

    def where(self) -> str:
        """Where each process was, in one line; empty if unknown, and without those that only waited to be dumped."""
        return frames.places(self.texts, WAITING_FOR_STACKS)

    def _look_at(self, looked_at: Mapping[str, int]) -> dict[str, str]:
        """The stacks of processes, each followed by those of its children (data loaders, users' functions)."""
        tasks: dict[str, Callable[[], str]] = {}
        for name, pid in looked_at.items():
            tasks[name] = partial(_dump_of, pid, self._files.own_stacks(name))
            for child in processes.descendants(pid)[:_MAX_CHILDREN]:
                tasks[f"{name} {child}"] = partial(_py_spy, child)
        found = within(MAX_SECONDS, tasks)
        texts = {name: [text for task, text in found.items() if task.split()[0] == name and text] for name in looked_at}
        return {name: "\n".join(parts) for name, parts in texts.items() if parts}


def _dump_of(pid: int, own_stacks: Path) -> str:
    """The stacks of a training process; empty if it is gone."""
    return _py_spy(pid) or _py_spy(pid, "--nonblocking") or _by_signal(pid, own_stacks)


def _py_spy(pid: int, *options: str) -> str:
    command: list[str | Path] = [_PY_SPY, "dump", "--full-filenames", *options, "--pid", str(pid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_ATTEMPT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.debug("%s", error)
        return ""
    return done.stdout if done.returncode == 0 else ""


def _by_signal(pid: int, own_stacks: Path) -> str:
    """What the process writes about itself; only processes that wait for the signal were enlisted."""
    if not own_stacks.exists() or not _signal(pid, signal.SIGUSR1):
        return ""
    deadline, size = time.monotonic() + _SIGNAL_SECONDS, -1
    while time.monotonic() < deadline:
        time.sleep(_SIGNAL_SECONDS / 5)
        before, size = size, own_stacks.stat().st_size
        if size and size == before:
            break
    return own_stacks.read_text(errors="replace")


def _signal(pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
