"""JSON requests to the API server over kubernetes.aio: credentials, TLS, timeouts and translated errors.

Here alone is decided whether a request may be sent: writes only by the replica that leads, and nothing while the API
server asks to be left alone or is not there.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from ..exceptions import ClusterError, SettingsError, UnavailableError
from .apply_body import apply_body
from .errors import error_of_answer, error_of_exchange

APPLY: Final = "application/apply-patch+yaml; charset=utf-8"
"""With its character set, because kubernetes.aio would write the bodies of the bare type as JSON (see `apply_body`)."""

_JSON: Final = "application/json"
_TIMEOUT_SECONDS: Final = 15.0
_CONNECTIONS: Final = 64
_USER_AGENT: Final = "alignment-operator"

UNREACHABLE_SECONDS: Final = 1.0
"""Nobody listens at the API server's address: for so long no other request is sent, however many jobs wait."""

LONGEST_HOLD_SECONDS: Final = 60.0
"""A Retry-After is followed up to here, if nothing else is said."""

IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"
"""Environment variable that every Pod has."""

CountRequest = Callable[[str, str, str], None]
"""Told of every request: verb, plural name of the resource, and ``ok`` or the error's reason."""


async def load_configuration() -> Configuration:
    """Address and credentials: of the Pod's service account, else those of $KUBECONFIG (~/.kube/config).

    Raises:
        SettingsError: there are neither.
    """
    configuration = Configuration()
    try:
        if IN_CLUSTER in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(client_configuration=configuration, persist_config=False)
    except config.ConfigException as error:
        raise SettingsError(f"no credentials for the API server: {error}; set KUBECONFIG or run in a Pod") from error
    configuration.connection_pool_maxsize = _CONNECTIONS
    return configuration


class Client:
    """Sends requests; objects come and go as JSON, since the typed models would only be converted back."""

    def __init__(
        self,
        configuration: Configuration,
        count: CountRequest,
        may_write: Callable[[], bool] = lambda: True,
        identity: str = "",
        longest_hold: float = LONGEST_HOLD_SECONDS,
    ) -> None:
        """Make a client with connections of its own.

        Args:
            may_write: asked when a write is about to be made, and again at the last instant before its bytes go out:
                a process may be stopped for minutes at any point between the two.
            identity: of this replica, for the API server's audit log.
            longest_hold: for how many seconds a Retry-After is followed.
        """
        self._may_write = may_write
        fence = aiohttp.TraceConfig()
        fence.on_request_chunk_sent.append(self._check_fence)  # only writes have a body
        configuration = copy.copy(configuration)
        configuration.trace_configs = [fence]
        self._api = ApiClient(configuration)
        self._api.user_agent = f"{_USER_AGENT} ({identity})" if identity else _USER_AGENT
        self._count = count
        self._longest_hold = longest_hold
        self._held_until = 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def request(
        self,
        verb: str,
        path: str,
        *,
        doing: str,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        content_type: str = _JSON,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """Send one request and return the answer.

        Args:
            verb: HTTP method.
            path: absolute path, as of Resource.path.
            doing: what this is for, in words, for error messages: "create Job team-a/sft-1".

        Raises:
            NotFoundError: HTTP 404.
            RejectedError: refused for good.
            ConflictError: the object is not what the request was made for.
            UnavailableError: no answer, or one that says to come again; or this replica may not write.
        """
        await self._wait_while_held()
        method, url, headers, data, _ = await self._api.param_serialize(
            verb,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": _JSON, "Content-Type": content_type},
            body=apply_body(body) if body is not None and content_type == APPLY else body,
            auth_settings=["BearerToken"],
        )
        resource = _resource_in(path)
        if verb != "GET" and not self._may_write():
            raise UnavailableError(f"cannot {doing}: this replica does not lead", "NotLeading")
        try:
            response = await self._api.call_api(
                method, url, headers, data, _request_timeout=aiohttp.ClientTimeout(total=timeout_seconds)
            )
            content: bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._count(verb, resource, type(error).__name__)
            if isinstance(error, aiohttp.ClientConnectorError):
                self._hold(UNREACHABLE_SECONDS)
            raise error_of_exchange(doing, error) from error
        try:
            answer = _answer_of(doing, response.status, content, response.headers.get("Retry-After"))
        except ClusterError as error:
            self._count(verb, resource, error.reason)
            self._hold(error.retry_after)
            raise
        self._count(verb, resource, "ok")
        return answer

    async def _wait_while_held(self) -> None:
        left = self._held_until - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)

    def _hold(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + min(seconds, self._longest_hold)
        self._held_until = max(self._held_until, until)

    async def _check_fence(self, *_: object) -> None:
        if not self._may_write():
            raise aiohttp.ClientError("this replica does not lead any more")


def _answer_of(doing: str, status: int, content: bytes, retry_after: str | None) -> dict[str, Any]:
    if not 200 <= status < 300:
        raise error_of_answer(doing, status, content, retry_after)
    try:
        answer: dict[str, Any] = json.loads(content)
    except ValueError as error:  # cut off, or from something in between
        raise error_of_exchange(doing, error) from error
    return answer


def _resource_in(path: str) -> str:
    """Plural name (and subresource) that ``path`` leads to, without names of objects."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[0] == "namespaces" and len(parts) > 2:
        parts = parts[2:]
    return "/".join([parts[0], *parts[2:3]])
