"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

# Below the range that the kernel takes the near end of connections from: between this look and the start of the
# server, no connection of another test can take a port of these.
_RANGE = range(15000, 30000)


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on."""
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = random.choice(_RANGE)
            with suppress(OSError):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
        return found
