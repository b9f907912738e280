"""The Lease object that says which replica of the operator leads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..exceptions import NotFoundError
from ..planning.observed import Manifest
from .client import Client
from .resources import LEASE


@dataclass(frozen=True)
class LeaseKey:
    """Names a Lease, and one that wants to hold it.

    Attributes:
        identity: no two processes that run at the same time share one; the name of the Pod.
    """

    namespace: str
    name: str
    identity: str


class LeaseStore:
    """Reads and writes one Lease; of two writers that read the same, the second is refused."""

    def __init__(self, client: Client, key: LeaseKey) -> None:
        self._client = client
        self._key = key

    async def read(self, timeout_seconds: float) -> Manifest | None:
        """The Lease, or None when there is none yet.

        Raises:
            ClusterError: it could not be read.
        """
        try:
            return await self._request("GET", "read", LEASE.path(self._key.namespace, self._key.name), timeout_seconds)
        except NotFoundError:
            return None

    async def take(self, known: Manifest | None, seconds: int, timeout_seconds: float) -> Manifest:
        """Write that we hold it for another ``seconds``.

        Args:
            known: the Lease as last read or written; None to create it.

        Raises:
            ClusterError: it was changed since (HTTP 409), or not written for another reason.
        """
        before: dict[str, Any] = dict((known or {}).get("spec") or {})
        now = _micro_time()
        spec = before | {"holderIdentity": self._key.identity, "leaseDurationSeconds": seconds, "renewTime": now}
        if before.get("holderIdentity") != self._key.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(before.get("leaseTransitions") or 0) + (1 if known else 0)
        return await self._write(known, spec, timeout_seconds)

    async def give_back(self, known: Manifest, timeout_seconds: float) -> None:
        """Write that nobody holds it.

        Raises:
            ClusterError: it was changed since (HTTP 409), or not written for another reason.
        """
        spec = {**known["spec"], "holderIdentity": None, "leaseDurationSeconds": 1, "renewTime": _micro_time()}
        await self._write(known, spec, timeout_seconds)

    async def _write(self, known: Manifest | None, spec: dict[str, Any], timeout_seconds: float) -> Manifest:
        metadata = {"namespace": self._key.namespace, "name": self._key.name}
        if known is None:
            verb, path = "POST", LEASE.path(self._key.namespace)
        else:
            verb, path = "PUT", LEASE.path(self._key.namespace, self._key.name)
            metadata = {**known["metadata"]}  # with its resourceVersion, which is the precondition
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
        return await self._request(verb, "write", path, timeout_seconds, body)

    async def _request(
        self, verb: str, doing: str, path: str, timeout_seconds: float, body: dict[str, Any] | None = None
    ) -> Manifest:
        what = f"{doing} Lease {self._key.namespace}/{self._key.name}"
        return await self._client.request(verb, path, doing=what, body=body, timeout_seconds=timeout_seconds)


def _micro_time() -> str:
    """The present time as Kubernetes writes it in Leases. For people: nothing is decided from a clock of others."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
