"""A hub on this machine that has dataset and model repositories: as much of its API as the real client asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .local_servers import served

_COMMIT = "a" * 40


class HubServer(ThreadingHTTPServer):
    """Repositories over HTTP, of data sets or models, as they are asked for.

    Attributes:
        repositories: name -> path -> content.
        read: paths that were asked for, as ``repository/path``.
    """

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.read: list[str] = []

    @property
    def address(self) -> str:
        """Its address, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def running(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[HubServer]:
    """A hub with these repositories."""
    server = HubServer(repositories)
    with served(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/(?:datasets|models)/([^/]+/[^/]+)/(revision|tree)/[^/]+(/.*)?", path):
            self._api(found[1], found[2], (found[3] or "").strip("/"))
        elif found := re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._file(found[1], found[2])
        else:
            self._answer(404, error="EntryNotFound")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/paths-info/[^/]+", self.path)
        files = self.server.repositories.get(name[1], {}) if name else {}
        self._answer(200, json.dumps([_entry(p, files[p]) for p in asked["paths"] if p in files]).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _api(self, name: str, kind: str, folder: str) -> None:
        files = self.server.repositories.get(name)
        if files is None:
            self._answer(404, error="RepoNotFound")
        elif kind == "tree":
            entries = _tree(files, folder, recursive="recursive=true" in self.path.lower())
            if entries:
                self._answer(200, json.dumps(entries).encode())
            else:
                self._answer(404, error="EntryNotFound")
        else:
            siblings = [{"rfilename": path} for path in files]
            info = {"id": name, "sha": _COMMIT, "private": False, "siblings": siblings, "tags": []}
            self._answer(200, json.dumps(info).encode())

    def _file(self, name: str, path: str) -> None:
        content = self.server.repositories.get(name, {}).get(path)
        if content is None:
            self._answer(404, error="EntryNotFound")
            return
        if self.command == "GET":
            self.server.read.append(f"{name}/{path}")
        headers = {"ETag": f'"{hash(content):x}"', "X-Repo-Commit": _COMMIT, "Accept-Ranges": "bytes"}
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if part is None:
            self._answer(200, content, headers)
            return
        first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
        span = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self._answer(206, content[first : last + 1], headers | span)

    def _answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, error: str = ""
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "X-Error-Code": error, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}


def _tree(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict[str, object]]:
    """What lies in a folder, or below it."""
    prefix = f"{folder}/" if folder else ""
    below = {path: content for path, content in files.items() if path.startswith(prefix)}
    folders = sorted({path[: path.index("/", len(prefix))] for path in below if "/" in path[len(prefix) :]})
    return [
        *({"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in folders),
        *(_entry(path, below[path]) for path in below if recursive or "/" not in path[len(prefix) :]),
    ]
