"""A proxy that lets so many requests pass and then ends the process that sends them, as a node that dies does."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_REQUEST = re.compile(rb"^(GET|HEAD|POST|PUT|PATCH|DELETE) \S+ HTTP/1\.1\r\n", re.MULTILINE)


class CountingProxy:
    """Passes bytes on to a server, and counts the requests among them.

    Attributes:
        port: where it listens.
        limit: requests after whose last byte from the client nothing more passes; None for no limit.
        client: the process to end then.
        requests: how many there were.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.limit: int | None = None
        self.client: int | None = None
        self.requests = 0
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Accept connections until `close`."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._server_port))
                for source, target, counts in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._pass_on, args=(source, target, counts), daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()

    def _pass_on(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                if counts and self._is_over(len(_REQUEST.findall(block))):
                    break
                target.sendall(block)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_over(self, requests: int) -> bool:
        with self._lock:
            self.requests += requests
            if self.limit is None or self.requests < self.limit:
                return False
            if self.client is not None:
                os.kill(self.client, signal.SIGKILL)
                self.client = None
            return True


@contextmanager
def proxy_to(port: int) -> Iterator[CountingProxy]:
    """A proxy to a server on this machine."""
    proxy = CountingProxy(port)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
