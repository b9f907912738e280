"""The supervisor's HTTP server: /progress /history /metrics /healthz, all from files, and the job's report once it is
written.

The training processes write those files, so a hung process still answers here, and its `updatedAt` says since when.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from alignment_api.contract import Progress

from ..run_files import RunFiles
from . import published
from .published import Publication

_log = logging.getLogger(__name__)
MAX_HISTORY_BYTES: Final = 256 * 1024
JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonl"
PLAIN_TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


def serve(port: int, files: RunFiles, history: Path, publication: Publication | None = None) -> ThreadingHTTPServer:
    """Start serving in a thread.

    Args:
        port: TCP port, on all addresses; 0 picks a free one.
        files: run folder with the progress.
        history: the attempt's metrics, JSON Lines.
        publication: the job's report, which is served gzipped, whoever asks; None where there will be none.

    Raises:
        OSError: the port is taken.
    """
    pages: dict[str, tuple[str, Callable[[], bytes]]] = {
        "/progress": (JSON, lambda: files.progress.read_bytes()),
        "/history": (JSON_LINES, lambda: read_tail(history, MAX_HISTORY_BYTES)),
        "/metrics": (PROMETHEUS_TEXT, lambda: prometheus_text(files.read_progress())),
        "/healthz": (PLAIN_TEXT, lambda: b"ok\n"),
    }
    reports = {published.PAGE: HTML, published.NUMBERS: JSON} if publication is not None else {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if publication is not None and path in reports:
                self._give(publication, path)
                return
            page = pages.get(path)
            if page is None:
                self._answer(HTTPStatus.NOT_FOUND, PLAIN_TEXT, f"pages: {' '.join([*pages, *reports])}\n".encode())
                return
            content_type, read = page
            try:
                self._answer(HTTPStatus.OK, content_type, read())
            except (OSError, ValueError) as error:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, PLAIN_TEXT, f"{error}\n".encode())

        def _give(self, publication: Publication, path: str) -> None:
            try:
                body = publication.part(path)
            except LookupError as error:
                self._answer(HTTPStatus.NOT_FOUND, PLAIN_TEXT, f"{error.args[0]}\n".encode())
                return
            self._answer(HTTPStatus.OK, reports[path], body, encoding="gzip")
            publication.was_sent(path)

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes, encoding: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            if encoding is not None:
                self.send_header("Content-Encoding", encoding)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            _log.debug(format, *args)

    server = ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server


def read_tail(path: Path, limit: int) -> bytes:
    """The last whole lines of a file, ``limit`` bytes at most; empty if there is no file yet."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - limit))
            content = file.read()
    except FileNotFoundError:
        return b""
    return content if size <= limit else content.partition(b"\n")[2]


class _ProgressCollector:
    """Prometheus metrics of one Progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def collect(self) -> list[GaugeMetricFamily]:
        """One family for each number; the stage and attempt are labels."""
        progress = self._progress
        labels = {"stage": progress.stage, "attempt": str(progress.attempt)}
        numbers: list[tuple[str, str, float | None]] = [
            ("step", "Optimizer steps done, over all attempts.", progress.step),
            ("total_steps", "Optimizer steps of the whole stage.", progress.total_steps),
            ("tokens", "Tokens trained on, over all attempts.", progress.tokens),
            ("tokens_per_second", "Tokens per second over all processes.", progress.tokens_per_second),
            ("eta_seconds", "Estimated seconds to the end.", progress.eta_seconds),
            ("updated_timestamp_seconds", "When the trainer wrote these numbers.", progress.updated_at.timestamp()),
            ("checkpoint_step", "Step of the newest complete checkpoint.", _checkpoint_step(progress)),
        ]
        families = []
        for name, text, value in numbers:
            if value is not None:
                family = GaugeMetricFamily(f"alignment_trainer_{name}", text, labels=list(labels))
                family.add_metric(list(labels.values()), value)
                families.append(family)
        latest = GaugeMetricFamily("alignment_trainer_metric", "Latest metrics.", labels=[*labels, "name"])
        for metric, value in progress.metrics.items():
            latest.add_metric([*labels.values(), metric], value)
        return [*families, latest]


def prometheus_text(progress: Progress) -> bytes:
    """``progress`` in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_ProgressCollector(progress))
    return generate_latest(registry)


def _checkpoint_step(progress: Progress) -> float | None:
    return progress.checkpoint.step if progress.checkpoint else None
