"""A few lines of Kubernetes client for starting the cluster: kubectl's own start would cost more than the calls."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from .certificates import ADMIN, AUTHORITY
from .layout import API_PORT, HOST_ADDRESS
from .shell import ClusterError

Json = dict[str, Any]


class Api:
    """One connection to the API server as administrator."""

    def __init__(self, timeout: float = 10) -> None:
        context = ssl.create_default_context(cafile=str(AUTHORITY))
        context.load_cert_chain(ADMIN.certificate, ADMIN.key)
        self._connection = http.client.HTTPSConnection(HOST_ADDRESS, API_PORT, context=context, timeout=timeout)

    def request(
        self, method: str, path: str, body: Json | None = None, content_type: str = "application/json"
    ) -> tuple[int, str]:
        """Send one request; return status and text. Status 0 means that nobody answered."""
        try:
            self._connection.request(
                method, path, json.dumps(body) if body is not None else None, {"Content-Type": content_type}
            )
            response = self._connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, "no answer"

    def ready(self) -> bool:
        """Return whether the API server is ready, its default roles included."""
        return self.request("GET", "/readyz")[0] == 200

    def get(self, path: str) -> Json | None:
        """Return an object or list, or None if it is not there."""
        status, text = self.request("GET", path)
        return json.loads(text) if status == 200 else None

    def create(self, path: str, body: Json) -> None:
        """Create an object; that it exists already is fine."""
        status, text = self.request("POST", path, body)
        if status not in (200, 201, 409):
            raise ClusterError(f"creating {body['kind']} {body['metadata'].get('name')}: {status} {text}")

    def patch(self, path: str, body: Json) -> None:
        """Merge-patch an object."""
        status, text = self.request("PATCH", path, body, "application/merge-patch+json")
        if status != 200:
            raise ClusterError(f"patching {path}: {status} {text}")

    def delete(self, path: str) -> None:
        """Delete an object; that it is gone already is fine."""
        status, text = self.request("DELETE", path)
        if status not in (200, 202, 404):
            raise ClusterError(f"deleting {path}: {status} {text}")
