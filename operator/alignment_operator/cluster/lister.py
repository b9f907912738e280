"""Lists all objects of a kind."""

from __future__ import annotations

from typing import Any, Final

from alignment_api import labels

from .client import Client
from .resources import ALIGNMENT_JOB, Resource

SELECTOR: Final = f"{labels.MANAGED_BY}={labels.MANAGER}"
"""Picks the operator's own Jobs and Pods out of everybody's."""

_PAGE: Final = 500


class Lister:
    """Lists objects, page by page, as of one resourceVersion."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(self, resource: Resource, namespace: str | None) -> dict[str, Any]:
        """All objects of a watched kind at one resourceVersion, in ``namespace`` or (None) in the cluster.

        Raises:
            ClusterError: the list could not be read as a whole.
        """
        query = {"limit": str(_PAGE)}
        if resource is not ALIGNMENT_JOB:
            query["labelSelector"] = SELECTOR
        where = f"namespace {namespace}" if namespace else "all namespaces"
        items: list[dict[str, Any]] = []
        while True:
            page = await self._client.request(
                "GET", resource.path(namespace), doing=f"list {resource.plural} of {where}", query=query
            )
            items += page["items"]
            if not (more := page["metadata"].get("continue")):
                # Items of a list lack what the list as a whole says.
                whole = {"apiVersion": resource.api_version, "kind": resource.kind}
                return {"metadata": page["metadata"], "items": [whole | item for item in items]}
            query["continue"] = more
