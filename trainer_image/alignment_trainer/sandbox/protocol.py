"""Messages between the trainer and a sandbox: a length of four bytes, then JSON. Nothing in them is ever executed."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any, Final

_LENGTH: Final = struct.Struct(">I")
_PART: Final = 2**20
MAX_MESSAGE: Final = 2**32 - 1


class ProtocolError(Exception):
    """What arrived is no message."""


def send(connection: socket.socket, message: Any, deadline: float | None = None) -> None:
    """Send one message.

    Args:
        connection: a stream socket.
        message: what JSON can say; NaN and infinities are let through as Python writes them.
        deadline: time of the monotonic clock by which it must be sent; None waits for ever.

    Raises:
        TypeError, ValueError: JSON cannot say it, or it is too long.
        TimeoutError: the deadline has passed.
        OSError: the other side is gone.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(body)} bytes is too long")
    _wait_until(connection, deadline)
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive(connection: socket.socket, limit: int = MAX_MESSAGE, deadline: float | None = None) -> Any:
    """The next message.

    Args:
        connection: a stream socket.
        limit: longest message in bytes that is read.
        deadline: time of the monotonic clock by which all of it must be there; None waits for ever.

    Raises:
        EOFError: the other side is gone.
        ProtocolError: the message is too long, or no JSON.
        TimeoutError: the deadline has passed.
        OSError: the socket failed.
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size, deadline))
    if length > limit:
        raise ProtocolError(f"a message of {length} bytes is longer than the {limit} that are allowed")
    try:
        return json.loads(_exactly(connection, length, deadline))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a message is no JSON: {error}") from error


def _exactly(connection: socket.socket, count: int, deadline: float | None) -> bytes:
    data = bytearray()
    while len(data) < count:
        _wait_until(connection, deadline)
        part = connection.recv(min(count - len(data), _PART))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _wait_until(connection: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        connection.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
