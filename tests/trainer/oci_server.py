"""An OCI registry on this machine: the CNCF's Distribution."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from ..cluster.tools import build_module
from ..ports import free_port
from .local_servers import listening, served

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_SERVICE = "registry-of-tests"
USER, PASSWORD = "pusher", "secret-of-pusher"
_BCRYPT = "$2y$05$abcdefghijklmnopqrstuuTgHTY37OW0cOaUKLSlYAetkT6pZqxFG"
"""Of the password: the standard library no longer makes these."""


@dataclass(frozen=True)
class OciServer:
    """A running registry.

    Attributes:
        host: its address, as a manifest names it.
        trusted: certificate of its authority, if it speaks TLS.
    """

    host: str
    trusted: Path | None = None

    def get(self, path: str) -> httpx2.Response:
        """What it answers to somebody who may read everything."""
        scheme = "http" if self.trusted is None else "https"
        # Without TLS there is no need to read all the certificates of this machine, for every request.
        context = ssl.create_default_context(cafile=self.trusted) if self.trusted is not None else False
        return httpx2.get(
            f"{scheme}://{self.host}/v2/{path}", auth=(USER, PASSWORD), headers={"Accept": _MANIFEST}, verify=context
        )

    def manifest(self, repository: str, reference: str) -> dict[str, Any]:
        """A manifest."""
        content = self.get(f"{repository}/manifests/{reference}").raise_for_status().json()
        assert isinstance(content, dict)
        return content

    def files(self, repository: str, reference: str) -> dict[str, bytes]:
        """The files of an artifact, each with the digest that its layer has."""
        found = {}
        for layer in self.manifest(repository, reference)["layers"]:
            content = self.get(f"{repository}/blobs/{layer['digest']}").raise_for_status().content
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == layer["digest"]
            found[layer["annotations"]["org.cncf.model.filepath"]] = content
        return found


@contextmanager
def running(folder: Path, *, login: bool = False, tls: bool = False, tokens: bool = False) -> Iterator[OciServer]:
    """A registry whose data lies in ``folder``.

    Args:
        folder: an empty folder.
        login: let only `USER` in.
        tls: speak TLS, with a certificate that nobody trusts by himself.
        tokens: let in whoever has a token, which another server gives to `USER` for one repository at a time.
    """
    program = build_module("registry") / "registry"
    port = free_port()
    http: dict[str, Any] = {"addr": f"127.0.0.1:{port}", "secret": "s"}
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": http,
    }
    trusted = None
    if login:
        (folder / "users").write_text(f"{USER}:{_BCRYPT}\n")
        config["auth"] = {"htpasswd": {"realm": "registry", "path": str(folder / "users")}}
    with ExitStack() as stack:
        if tls or tokens:
            certificate, key = _make_certificate(folder)
        if tls:
            trusted, http["tls"] = certificate, {"certificate": str(certificate), "key": str(key)}
        if tokens:
            issuer = stack.enter_context(_issuing(certificate, key))
            config["auth"] = {
                "token": {"realm": issuer, "service": _SERVICE, "issuer": _SERVICE, "rootcertbundle": str(certificate)}
            }
        (folder / "config.json").write_text(json.dumps(config))  # YAML, too
        stack.enter_context(listening([program, "serve", folder / "config.json"], ("127.0.0.1", port), folder / "log"))
        yield OciServer(f"127.0.0.1:{port}", trusted)


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@contextmanager
def _issuing(certificate: Path, key: Path) -> Iterator[str]:
    """A server that gives tokens; its address. https://distribution.github.io/distribution/spec/auth/token/"""
    chain = base64.b64encode(ssl.PEM_cert_to_DER_cert(certificate.read_text())).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") != wanted:
                self.send_error(401)
                return
            scope = parse_qs(urlsplit(self.path).query).get("scope", [""])[0]
            token = _token(scope, chain, key)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"token": token}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with served(server):
        yield f"http://127.0.0.1:{server.server_address[1]}/token"


def _token(scope: str, chain: str, key: Path) -> str:
    """A signed token for what ``scope`` asks, ``repository:NAME:ACTIONS``."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    now = int(time.time())
    claims = {
        "iss": _SERVICE,
        "aud": _SERVICE,
        "sub": USER,
        "iat": now,
        "nbf": now - 60,
        "exp": now + 60,
        "access": [{"type": kind, "name": name, "actions": actions.split(",")}] if scope else [],
    }
    parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "RS256", "x5c": [chain]}, claims)]
    signed = b".".join(map(_base64, parts))
    command = ["openssl", "dgst", "-sha256", "-sign", str(key)]
    signature = subprocess.run(command, input=signed, capture_output=True, check=True).stdout
    return b".".join([signed, _base64(signature)]).decode()


def _base64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
