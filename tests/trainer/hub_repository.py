"""A hub on this machine that takes commits: as much of its API as the real client asks for to write a model."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .local_servers import served

TOKEN = "hf_writer_of_tests"
_LARGE = ".safetensors"
"""What the hub keeps as large files, apart from git."""


@dataclass
class Repository:
    """A model repository.

    Attributes:
        private: whether it was made so.
        commits: name -> path -> content; the first one is empty.
        branches: name -> name of a commit.
    """

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})

    def at(self, revision: str) -> dict[str, bytes] | None:
        """The files of a branch or commit."""
        return self.commits.get(self.branches.get(revision, revision))


class Hub(ThreadingHTTPServer):
    """Repositories over HTTP.

    Attributes:
        repositories: by name.
        large: files by their SHA-256, sent and perhaps not committed.
        sent: how many large files were sent.
        fails: status that every request whose path has this word is answered with, by the word.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.sent = 0
        self.fails: dict[str, int] = {}

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


@contextmanager
def running() -> Iterator[Hub]:
    """A hub without repositories."""
    server = Hub()
    with served(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        self._dispatch(
            (r"/api/models/([^/]+/[^/]+)/revision/(.+)", self._info),
            (r"/api/models/([^/]+/[^/]+)/tree/(.+)", self._tree),
        )

    def do_POST(self) -> None:
        self._dispatch(
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", lambda: self._answer(200, {"errors": [], "warnings": []})),
            (r"/api/models/([^/]+/[^/]+)/branch/(.+)", self._branch),
            (r"/api/models/([^/]+/[^/]+)/preupload/(.+)", self._modes),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/api/models/([^/]+/[^/]+)/commit/(.+)", self._commit),
            (r"/api/models/([^/]+/[^/]+)/paths-info/(.+)", self._paths),
        )

    def do_PUT(self) -> None:
        self._dispatch((r"/large/([0-9a-f]{64})", self._store))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _dispatch(self, *routes: tuple[str, Any]) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        self.body = body
        failing = next((status for word, status in self.server.fails.items() if word in path), None)
        if failing is not None:
            self._answer(failing, {"error": "as the test wants it"})
        elif not path.startswith("/large/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        else:
            for pattern, action in routes:
                if found := re.fullmatch(pattern, path):
                    action(*map(unquote, found.groups()))
                    return
            self._answer(404, {"error": f"no such page: {path}"})

    def _chunks(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        new = name not in self.server.repositories
        self.server.repositories.setdefault(name, Repository(asked.get("visibility") == "private"))
        answer = {"url": f"http://127.0.0.1:{self.server.port}/{name}", "name": name, "id": name}
        self._answer(200 if new else 409, answer)

    def _branch(self, name: str, branch: str) -> None:
        branches = self.server.repositories[name].branches
        new = branch not in branches
        branches.setdefault(branch, branches["main"])
        self._answer(200 if new else 409, {})

    def _info(self, name: str, revision: str) -> None:
        repository = self.server.repositories[name]
        info = {"id": name, "sha": repository.branches[revision], "private": repository.private, "tags": []}
        self._answer(200, info | {"siblings": []})

    def _tree(self, name: str, revision: str) -> None:
        files = self.server.repositories[name].at(revision) or {}
        self._answer(200, [_entry(path, content) for path, content in files.items()])

    def _paths(self, name: str, revision: str) -> None:
        files = self.server.repositories[name].at(revision) or {}
        asked = parse_qs(self.body.decode())["paths"]
        self._answer(200, [_entry(path, files[path]) for path in asked if path in files])

    def _modes(self, name: str, revision: str) -> None:
        files = self.server.repositories[name].at(revision) or {}
        self._answer(
            200,
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(_LARGE) else "regular",
                        "shouldIgnore": file["path"] in files.get(".gitignore", b"").decode().split(),
                        "oid": _object(file["path"], files[file["path"]]) if file["path"] in files else None,
                    }
                    for file in json.loads(self.body)["files"]
                ]
            },
        )

    def _batch(self, name: str) -> None:
        objects = []
        for asked in json.loads(self.body)["objects"]:
            href = f"http://127.0.0.1:{self.headers['Host'].partition(':')[2]}/large/{asked['oid']}"
            actions = {} if asked["oid"] in self.server.large else {"actions": {"upload": {"href": href}}}
            objects.append({"oid": asked["oid"], "size": asked["size"], **actions})
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _store(self, digest: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != digest:
            self._answer(400, {"error": "another content"})
            return
        self.server.large[digest] = self.body
        self.server.sent += 1
        self._answer(200, {})

    def _commit(self, name: str, branch: str) -> None:
        repository = self.server.repositories[name]
        header, *operations = [json.loads(line) for line in self.body.splitlines()]
        if header["value"].get("parentCommit") != repository.branches[branch]:
            self._answer(412, {"error": "the branch has moved"})
            return
        files = dict(repository.commits[repository.branches[branch]])
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.server.large[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        commit = hashlib.sha1(self.body + repository.branches[branch].encode()).hexdigest()
        repository.commits[commit] = files
        repository.branches[branch] = commit
        url = f"http://127.0.0.1:{self.server.port}/{name}/commit/{commit}"
        self._answer(200, {"success": True, "commitOid": commit, "commitUrl": url})

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _git_digest(content)}
    if path.endswith(_LARGE):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 130}
    return entry


def _object(path: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if path.endswith(_LARGE) else _git_digest(content)


def _git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
