"""Start programs in their own process group and end exactly these, by pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .layout import LOGS, STATE
from .shell import ClusterError

_PIDS = STATE / "pids"


def _start_time(pid: int) -> str | None:
    """Return when a process began, in clock ticks since boot; with the pid it names one process for ever."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def pid_of(name: str) -> int | None:
    """Return the pid of a component that runs, or None; a pid reused by another program counts as not running."""
    try:
        record = json.loads((_PIDS / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None
    return record["pid"] if _start_time(record["pid"]) == record["started"] else None


def names() -> list[str]:
    """Return the components that were started, in that order."""
    files = sorted(_PIDS.glob("*.json"), key=lambda path: path.stat().st_mtime_ns) if _PIDS.exists() else []
    return [file.stem for file in files]


def start(name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> int:
    """Start a component with its output appended to its log; return its pid."""
    if pid_of(name):
        raise ClusterError(f"{name} already runs")
    _PIDS.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("a") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            cwd="/",
            start_new_session=True,
        )
    record = {"pid": process.pid, "started": _start_time(process.pid), "command": [str(part) for part in command]}
    (_PIDS / f"{name}.json").write_text(json.dumps(record))
    return process.pid


def command_of(name: str) -> list[str]:
    """Return the command line that a component was started with."""
    record: dict[str, list[str]] = json.loads((_PIDS / f"{name}.json").read_text())
    return record["command"]


def stop(component_names: Sequence[str], *, grace: float = 3.0, at_once: bool = False) -> None:
    """End components: a polite signal to all, then the hard one to those that stay (`at_once`: the hard one only)."""
    running = {name: pid for name in component_names if (pid := pid_of(name))}
    if not at_once:
        _signal(running, signal.SIGTERM)
        _wait(running, grace)
        running = {name: pid for name, pid in running.items() if pid_of(name)}
    _signal(running, signal.SIGKILL)
    _wait(running, 10)
    for name in component_names:
        if pid_of(name):
            raise ClusterError(f"{name} does not end")
        (_PIDS / f"{name}.json").unlink(missing_ok=True)


def _signal(running: Mapping[str, int], number: int) -> None:
    for pid in running.values():
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            continue


def _wait(running: Mapping[str, int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(pid_of(name) for name in running) and time.monotonic() < deadline:
        for pid in running.values():
            try:  # collect it if it is our own child, else init does
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
        time.sleep(0.02)


def failure(name: str) -> str:
    """Return the end of a component's log, for an error message."""
    log = LOGS / f"{name}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(no log)"
