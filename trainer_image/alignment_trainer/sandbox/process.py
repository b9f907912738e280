"""Runs a function of a user's in a process of its own: no credentials, a time limit, an end that nothing survives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from . import protocol

_START_SECONDS: Final = 120.0
"""For starting Python and importing what the source imports, on a busy machine."""

_MAX_ANSWER: Final = 2**24

_INHERITED: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS")
"""All that the code sees of the Pod's environment: no secret of the job's, hub token, proxy or service address."""


@dataclass(frozen=True)
class Source:
    """A function and the source it is in.

    Attributes:
        text: Python source.
        file: its name in messages.
        function: the function in it.
    """

    text: str
    file: str
    function: str


class SandboxError(Exception):
    """A call gave no values; the message says why."""


class LoadError(SandboxError):
    """The source cannot be executed, or lacks the function."""


class RaisedError(SandboxError):
    """The function raised an exception.

    Args:
        message: what was raised, and where.
        place: kind and line of the exception; two of the same place have the same cause.
    """

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place


class TimedOutError(SandboxError):
    """The call took too long and was ended."""


class EndedError(SandboxError):
    """The code ended its process, or the kernel did."""


class Sandbox:
    """A process that answers calls of one function; it is started by the first call and again after each failure.

    Args:
        source: the function.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def call(self, arguments: Mapping[str, Any], seconds: float) -> list[Any]:
        """Call the function.

        Args:
            arguments: by name, as JSON has them; those that the function has no parameter for are left out.
            seconds: how long it may take, without the start of the process.

        Returns:
            The list it returned: numbers, None, and a description of each entry that is neither.

        Raises:
            LoadError: the source cannot be executed.
            RaisedError: the function raised an exception.
            TimedOutError: the time is over.
            EndedError: the process ended.
            SandboxError: the function has other parameters, or returned no list.
            TypeError, ValueError: JSON cannot say the arguments.
        """
        connection = self._connection or self._start()
        answer = self._ask(connection, dict(arguments), seconds)
        match answer:
            case {"values": list(values)}:
                return values
            case {"raised": text, "place": place}:
                raise RaisedError(f"raised {text}", place)
            case {"unsuitable": text}:
                raise SandboxError(text)
            case _:  # the code wrote to the socket
                self.close()
                raise SandboxError("gave no answer that can be read")

    def close(self) -> None:
        """Kill the process and all it started."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> socket.socket:
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True)
        ours, theirs = socket.socketpair()
        self._connection = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.child", str(theirs.fileno())],
                env=environment(os.environ, self._folder.name),
                cwd=self._folder.name,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            answer = self._ask(ours, asdict(self._source), _START_SECONDS)
        except SandboxError as error:
            raise LoadError(f"cannot be loaded: it {error}") from error
        if answer != {"loaded": True}:
            self.close()
            raise LoadError(f"cannot be loaded: {answer.get('raised', 'no answer')}")
        return ours

    def _ask(self, connection: socket.socket, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        try:
            protocol.send(connection, message, deadline)
            answer = protocol.receive(connection, _MAX_ANSWER, deadline)
        except TimeoutError:
            self.close()
            raise TimedOutError(f"takes longer than {seconds:g} seconds") from None
        except protocol.ProtocolError as error:
            self.close()
            raise SandboxError(f"gave no answer that can be read: {error}") from error
        except (EOFError, OSError):
            raise EndedError(f"ended its process{self._ending()}") from None
        return answer if isinstance(answer, dict) else {}

    def _ending(self) -> str:
        """How the process ended by itself; it is cleared away."""
        process = self._process
        code = None
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=5)
        self.close()
        if code is None:
            return ""
        return f" with signal {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"


def environment(inherited: Mapping[str, str], folder: str) -> dict[str, str]:
    """The environment of the code.

    Args:
        inherited: that of this process.
        folder: the only one that is the code's own.
    """
    kept = {name: inherited[name] for name in _INHERITED if name in inherited}
    own = {
        "HOME": folder,
        "TMPDIR": folder,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # the same order of sets in every process and after every restart
        "CUDA_VISIBLE_DEVICES": "",  # the GPUs' memory belongs to the training
    }
    return kept | own
