"""Run programs and say what happens, with elapsed times, on standard error (standard output is for results)."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_START = time.monotonic()


class ClusterError(Exception):
    """Something the test cluster needs is missing or failed; the message is for people."""


def say(message: str) -> None:
    """Print a progress line with the seconds since the command began."""
    print(f"[{time.monotonic() - _START:6.1f}s] {message}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say that a step begins, and how long it took."""
    say(f"{what} ...")
    begin = time.monotonic()
    yield
    say(f"{what}: done in {time.monotonic() - begin:.1f}s")


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Let one command at a time do something; the others wait and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another command: {what}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def output(command: Sequence[str | Path], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return its standard output; its errors are quoted in the exception when it fails."""
    result = subprocess.run([str(part) for part in command], input=stdin, env=env, capture_output=True, text=True)
    if result.returncode:
        raise ClusterError(
            f"{Path(command[0]).name} failed ({result.returncode}): {' '.join(map(str, command))}\n"
            f"{(result.stderr or result.stdout).strip()[-2000:]}"
        )
    return result.stdout


def logged(
    command: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a long command with its output in a log file; the end of the log is quoted when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        result = subprocess.run(
            [str(part) for part in command],
            env=env,
            cwd=cwd,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    if result.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise ClusterError(f"{Path(command[0]).name} failed ({result.returncode}), see {log}:\n{tail}")


def quietly(command: Sequence[str | Path]) -> bool:
    """Run a command whose failure is an answer, not an error."""
    return (
        subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ).returncode
        == 0
    )


def wait_until(what: str, check: Callable[[], bool], timeout: float, interval: float = 0.05) -> None:
    """Poll until `check` holds, or raise naming what was waited for."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {timeout:.0f} s")
        time.sleep(interval)
