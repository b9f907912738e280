"""The sandbox itself: ``python -m alignment_trainer.sandbox.child FD`` answers calls on a socket.

It imports the standard library only, so that it starts at once and the code in it meets nothing of ours but this file.
The first message holds the source and the function's name, each later one the arguments of a call.
"""

from __future__ import annotations

import faulthandler
import inspect
import linecache
import os
import select
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Callable
from typing import Any, Final

from . import landlock, protocol

MAX_TEXT: Final = 1000
"""Longest excerpt of a value or an error that is sent back."""


def main(fd: int) -> None:
    """Serve calls until the other side is gone."""
    connection = socket.socket(fileno=fd)
    if not landlock.apart_from_other_processes():
        print("this kernel lacks Landlock: the code could read the trainer's environment", file=sys.stderr)  # noqa: T201
    threading.Thread(target=_die_with_parent, args=(fd,), daemon=True).start()
    faulthandler.register(signal.SIGUSR1)  # the supervisor asks all processes of a hanging Pod for their stacks
    try:
        function = _load(protocol.receive(connection))
    except BaseException as error:  # SystemExit too: the code must not end the process unexplained
        protocol.send(connection, {"raised": describe(error)})
        return
    protocol.send(connection, {"loaded": True})
    while True:
        try:
            call = protocol.receive(connection)
        except (EOFError, OSError):
            return
        protocol.send(connection, _answer(function, call))


class UnsuitableError(Exception):
    """The function cannot be called, or returned what is no list of values."""


def describe(error: BaseException) -> str:
    """An exception with the place in the user's file where it was raised."""
    if isinstance(error, SyntaxError):
        return (
            f"{type(error).__name__}: {error.msg}; {error.filename} line {error.lineno}: {(error.text or '').strip()}"
        )
    text = "".join(traceback.format_exception_only(error)).strip()
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    where = "".join(f"; {frame.filename} line {frame.lineno}, in {frame.name}: {frame.line}" for frame in places[-2:])
    return text[:MAX_TEXT] + where[:MAX_TEXT]


def place(error: BaseException) -> str:
    """The kind of an exception and the line that raised it, to tell it from others."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}"


def _load(source: dict[str, str]) -> Callable[..., Any]:
    text, file = source["text"], source["file"]
    # The file may change or be elsewhere: errors shall quote the source that runs.
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = types.ModuleType("reward")
    module.__file__ = file
    sys.modules[module.__name__] = module  # dataclasses and pickle look their module up
    exec(compile(text, file, "exec"), module.__dict__)  # noqa: S102 - what this process is for
    function = module.__dict__.get(source["function"])
    if not callable(function):
        there = ", ".join(name for name, value in vars(module).items() if inspect.isfunction(value)) or "none"
        raise LookupError(f"there is no function {source['function']!r}; functions in the file: {there}")
    return function  # type: ignore[no-any-return]


def _answer(function: Callable[..., Any], call: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"values": _plain_list(function(**_accepted(function, call)))}
    except UnsuitableError as error:
        return {"unsuitable": str(error)}
    except BaseException as error:
        return {"raised": describe(error), "place": place(error)}


def _accepted(function: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """Those of ``values`` that the function has parameters for."""
    parameters = inspect.signature(function).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    missing = [name for name in needed if name not in values]
    if missing:
        raise UnsuitableError(f"takes a parameter {missing[0]!r}, but there is only: {', '.join(values)}")
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return values
    names = {p.name for p in parameters}
    return {name: value for name, value in values.items() if name in names}


def _plain_list(result: Any) -> list[Any]:
    if hasattr(result, "tolist"):  # numpy, torch, pandas
        result = result.tolist()
    if not isinstance(result, list | tuple):
        raise UnsuitableError(f"returned {_excerpt(result)}, not a list of one number or None for each response")
    return [_plain(value) for value in result]


def _plain(value: Any) -> Any:
    """A number or None as JSON has them; anything else as text that says what it is."""
    if value is None or isinstance(value, int | float):
        return value
    if not isinstance(value, str | bytes) and hasattr(value, "__float__"):
        return float(value)
    return _excerpt(value)


def _excerpt(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"[:MAX_TEXT]


def _die_with_parent(fd: int) -> None:
    """Kill this process and its children once the other end of the socket is closed, whatever the code is doing."""
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP | select.POLLHUP)
    poll.poll()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
