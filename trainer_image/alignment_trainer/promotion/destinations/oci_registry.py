"""As much of the OCI distribution specification as a push needs, with blobs that are never held in memory.

oras-py reads each file whole before it sends it (or cuts it into parts that not all registries take), and tells a
refusal from an outage only by text. https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self

import httpx2

from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_api.v1alpha1.promotion import OciDestination
from alignment_api.v1alpha1.uses import OCI_CREDENTIALS

from ...exceptions import StorageError, TrainerError
from .refusal import refused, secret_value, unreachable

_TIMEOUT: Final = httpx2.Timeout(60.0, read=600.0, connect=10.0)
"""Seconds between two bytes; a registry that takes in a large blob is silent until it has its digest."""

_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_UNREACHABLE: Final = frozenset({408, 425, 429})
"""Refusals that pass, besides those from 500 on."""

Body = Callable[[], Iterable[bytes]]


def digest_of(content: bytes) -> str:
    """Digest as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry:
    """One repository of a registry.

    Args:
        place: where it is, and how to log in. `SSL_CERT_FILE` may name a file with certificates to trust.
        field: path of ``place`` in the manifest.

    Raises:
        ConfigurationError: the Secret lacks a key.
    """

    def __init__(self, place: OciDestination, field: str) -> None:
        self._place = place
        self._field = field
        self._host, _, self._name = place.repository.partition("/")
        self._base = httpx2.URL(f"{'http' if place.plain_http else 'https'}://{self._host}/v2/{self._name}/")
        self._credentials = _credentials(place, field)
        self._authorization: str | None = None
        self._client = httpx2.Client(timeout=_TIMEOUT, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ensure_blob(self, digest: str, size: int, body: Body) -> None:
        """Send a blob unless the repository has it; the registry refuses one whose content is not as its digest.

        Raises:
            TrainerError: the registry refuses or does not answer.
            StorageError: it has the blob, but of another size.
        """
        if self._has_blob(digest, size):
            return
        started = self._checked(self._send("POST", self._base.join("blobs/uploads/")), 202)
        if "Location" not in started.headers:
            raise refused(
                f"{self._field}.repository", f"{self._host} does not say where to send blobs: is it a registry?"
            )
        location = self._base.join(started.headers["Location"]).copy_merge_params({"digest": digest})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._checked(self._send("PUT", location, headers, body), 201)
        if not self._has_blob(digest, size):
            raise StorageError(f"{self._place.repository} took blob {digest} and does not have it")

    def put_manifest(self, tag: str, content: bytes, media_type: str) -> None:
        """Move ``tag`` to a manifest whose blobs are there.

        Raises:
            TrainerError: the registry refuses or does not answer.
        """
        response = self._send(
            "PUT", self._base.join(f"manifests/{tag}"), {"Content-Type": media_type}, lambda: [content], len(content)
        )
        self._checked(response, 201)

    def manifest(self, tag: str, media_type: str) -> bytes:
        """The manifest that ``tag`` is at.

        Raises:
            TrainerError: the registry refuses or does not answer.
        """
        response = self._send("GET", self._base.join(f"manifests/{tag}"), {"Accept": media_type})
        return self._checked(response, 200).content

    def _has_blob(self, digest: str, size: int) -> bool:
        response = self._send("HEAD", self._base.join(f"blobs/{digest}"))
        if response.status_code == 404:
            return False
        if response.is_redirect:  # to the store behind the registry, which has it then
            return True
        found = self._checked(response, 200).headers.get("Content-Length", str(size))
        if int(found) != size:
            raise StorageError(f"blob {digest} of {self._place.repository} has {found} bytes, not {size}")
        return True

    def _send(
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        size: int | None = None,
    ) -> httpx2.Response:
        """The answer to a request, which is sent again once the registry has said how to log in."""
        given = dict(headers or {}) | ({"Content-Length": str(size)} if size is not None else {})
        response = self._sent(method, url, given, body)
        if response.status_code == 401 and self._log_in(response.headers.get("WWW-Authenticate", "")):
            response = self._sent(method, url, given, body)
        return response

    def _sent(self, method: str, url: httpx2.URL, headers: dict[str, str], body: Body | None) -> httpx2.Response:
        if self._authorization is not None and url.netloc == self._base.netloc and url.scheme == self._base.scheme:
            headers = headers | {"Authorization": self._authorization}
        try:
            return self._client.request(method, url, headers=headers, content=body() if body is not None else None)
        except httpx2.TransportError as error:
            raise self._no_connection(error) from error

    def _log_in(self, challenge: str) -> bool:
        """Get what the registry asks for; whether there is something new to try."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._credentials is not None and self._authorization is None:
            self._authorization = f"Basic {base64.b64encode(':'.join(self._credentials).encode()).decode()}"
            return True
        if scheme.lower() != "bearer":
            return False
        asked = dict(_CHALLENGE.findall(rest))
        realm = asked.pop("realm", "")
        if not realm:
            return False
        question = {name: value for name, value in asked.items() if name in ("service", "scope")}
        auth = httpx2.BasicAuth(*self._credentials) if self._credentials is not None else None
        try:
            answer = self._client.get(realm, params=question, auth=auth)
        except httpx2.TransportError as error:
            raise self._no_connection(error) from error
        given = self._checked(answer, 200).json()
        self._authorization = f"Bearer {given.get('token') or given.get('access_token')}"
        return True

    def _checked(self, response: httpx2.Response, expected: int) -> httpx2.Response:
        """A response that says yes.

        Raises:
            TrainerError: it does not.
        """
        status = response.status_code
        if status == expected:
            return response
        said = f"{status}: {' '.join(response.text.split())[:300]}" if response.text else str(status)
        if status in (401, 403):
            raise self._refused_login(said)
        if status in (404, 405):
            message = f"{self._host} has no repository {self._name} to push to: make it, or correct the name ({said})"
            raise refused(f"{self._field}.repository", message)
        if status in _UNREACHABLE or status >= 500:
            raise unreachable(self._field, f"{self._host} does not take the model now ({said})")
        raise refused(self._field, f"{self._host} refuses the model ({said})")

    def _refused_login(self, said: str) -> TrainerError:
        if self._place.credentials_secret is None:
            message = (
                f"{self._host} lets nobody push to {self._name} without logging in: set credentialsSecret ({said})"
            )
        else:
            message = (
                f"{self._host} refuses the credentials in Secret {self._place.credentials_secret}: correct them, or "
                f"let that account push to {self._name} ({said})"
            )
        return refused(f"{self._field}.credentialsSecret", message)

    def _no_connection(self, error: httpx2.TransportError) -> TrainerError:
        text = str(error)
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                message = (
                    f"the certificate of {self._host} is not trusted ({cause.verify_message}): name a file with that "
                    "of its authority in SSL_CERT_FILE (spec.prepare.podTemplate.env)"
                )
                return refused(f"{self._field}.repository", message)
            if isinstance(cause, ssl.SSLError):
                message = f"{self._host} does not speak TLS ({text}): set plainHttp, or correct the port"
                return refused(f"{self._field}.plainHttp", message)
        if isinstance(error, httpx2.RemoteProtocolError) and self._place.plain_http:
            text += "; does it expect TLS? Then remove plainHttp"
        message = f"{self._host} cannot be reached: check the address and the cluster's network ({text})"
        return unreachable(f"{self._field}.repository", message)


def _credentials(place: OciDestination, field: str) -> tuple[str, str] | None:
    if place.credentials_secret is None:
        return None
    name, password = (
        secret_value(SecretKeyReference(name=place.credentials_secret, key=key), f"{field}.credentialsSecret")
        for key in OCI_CREDENTIALS
    )
    return name, password


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
