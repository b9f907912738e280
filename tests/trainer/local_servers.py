"""Servers of tests: how they run, and what one does that misbehaves."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import BaseServer
from threading import Thread


@contextmanager
def served(server: BaseServer) -> Iterator[None]:
    """Let ``server`` answer in a thread, and close it at the end."""
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def listening(
    command: Sequence[str | Path], address: tuple[str, int], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a program that listens, and kill it at the end.

    Args:
        command: the program and its arguments.
        address: host and port at which it will listen.
        log: file for its output.
        environment: its whole environment; this process's if not given.
    """
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait(address, process, log)
        yield
    finally:
        process.kill()
        process.wait()


def _wait(address: tuple[str, int], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the server did not start: {log.read_text()}")


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close without a word."""
    request.close_connection = True
    request.connection.close()


def drip(request: BaseHTTPRequestHandler, seconds: float) -> None:
    """A byte now and then: no read ever times out, and the answer never ends."""
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            request.wfile.write(b" ")
        except OSError:
            return
        time.sleep(0.02)


def stall(request: BaseHTTPRequestHandler) -> None:
    """Nothing, until the client gives up."""
    request.rfile.read(1)
