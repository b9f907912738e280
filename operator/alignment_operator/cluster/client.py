"""JSON requests to the API server over kubernetes.aio: credentials, TLS, timeouts and translated errors."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from ..exceptions import SettingsError
from .errors import error_of_answer, error_of_exchange

APPLY: Final = "application/apply-patch+yaml"
_JSON: Final = "application/json"
_TIMEOUT_SECONDS: Final = 15.0
_CONNECTIONS: Final = 64
_IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"

CountRequest = Callable[[str, str, str], None]
"""Told of every request: verb, plural name of the resource, and ``ok`` or the error's reason."""


async def load_configuration() -> Configuration:
    """Address and credentials: of the Pod's service account, else those of $KUBECONFIG (~/.kube/config).

    Raises:
        SettingsError: there are neither.
    """
    configuration = Configuration()
    try:
        if _IN_CLUSTER in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(client_configuration=configuration, persist_config=False)
    except config.ConfigException as error:
        raise SettingsError(f"no credentials for the API server: {error}; set KUBECONFIG or run in a Pod") from error
    configuration.connection_pool_maxsize = _CONNECTIONS
    return configuration


class Client:
    """Sends requests; objects come and go as JSON, since the typed models would only be converted back."""

    def __init__(self, configuration: Configuration, count: CountRequest) -> None:
        self._api = ApiClient(configuration)
        self._api.user_agent = "alignment-operator"
        self._count = count

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
            UnavailableError: no answer, or one that says to come again.
        """
        method, url, headers, data, _ = await self._api.param_serialize(
            verb,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": _JSON, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        resource = _resource_in(path)
        try:
            response = await self._api.call_api(
                method, url, headers, data, _request_timeout=aiohttp.ClientTimeout(total=timeout_seconds)
            )
            content: bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._count(verb, resource, type(error).__name__)
            raise error_of_exchange(doing, error) from error
        if not 200 <= response.status < 300:
            failure = error_of_answer(doing, response.status, content)
            self._count(verb, resource, failure.reason)
            raise failure
        self._count(verb, resource, "ok")
        answer: dict[str, Any] = json.loads(content)
        return answer


def _resource_in(path: str) -> str:
    """Plural name (and subresource) that ``path`` leads to, without names of objects."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[0] == "namespaces" and len(parts) > 2:
        parts = parts[2:]
    return "/".join([parts[0], *parts[2:3]])
