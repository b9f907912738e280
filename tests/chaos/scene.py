"""The job under test through the API server, which may be away: every call is repeated until it is answered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alignment_api.v1alpha1 import GROUP, PLURAL, VERSION
from tests.cluster.api import Api
from tests.cluster.shell import ClusterError

Object = dict[str, Any]
_OUTAGE = 90.0


@dataclass
class Scene:
    """One AlignmentJob; for one thread, as its connection is."""

    namespace: str
    name: str
    api: Api = field(default_factory=Api)

    def call(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Object:
        """Send a request until the API server answers; an object that is not there is empty.

        Raises:
            ClusterError: it answered with a failure, or not at all.
        """
        deadline = time.monotonic() + _OUTAGE
        while True:
            status, text = self.api.request(method, path, body, content_type)
            if 200 <= status < 300:
                answer: Object = json.loads(text)
                return answer
            if status == 404:
                return {}
            # Starting up, it answers 403 and 500 before its own roles are there; 429: evict or ask again later.
            if (status not in (0, 403, 429) and status < 500) or time.monotonic() > deadline:
                raise ClusterError(f"{method} {path}: {status} {text[:500]}")
            time.sleep(0.1)

    def job(self) -> Object:
        """The AlignmentJob; empty when it is gone."""
        return self.call("GET", self._job_path)

    def stage(self, name: str) -> Object:
        """The status of a stage; empty before there is any."""
        stages = self.job().get("status", {}).get("stages", [])
        return next((entry for entry in stages if entry["name"] == name), {})

    def patch(self, changes: Object) -> None:
        """Merge-patch the AlignmentJob."""
        self.call("PATCH", self._job_path, changes, "application/merge-patch+json")

    def create(self, manifest: Object) -> None:
        """Create the AlignmentJob."""
        self.call("POST", self._jobs_path, manifest)

    def delete(self) -> None:
        """Delete the AlignmentJob; its children follow."""
        self.call("DELETE", self._job_path)

    def children(self, kind: str) -> list[Object]:
        """Its Jobs, Pods, Services or ConfigMaps, by the plural of the kind."""
        found: list[Object] = self.call("GET", self.path(kind) + f"?labelSelector=alignment.dev/job-name={self.name}")[
            "items"
        ]
        return found

    def pod(self, uid: str) -> Object | None:
        """The Pod of that uid, if the API server still has it."""
        return next((pod for pod in self.children("pods") if pod["metadata"]["uid"] == uid), None)

    def path(self, kind: str, name: str = "") -> str:
        """The path of an object, or of all of a kind, in the namespace."""
        group = {"jobs": "/apis/batch/v1", "endpointslices": "/apis/discovery.k8s.io/v1"}.get(kind, "/api/v1")
        return f"{group}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    @property
    def _jobs_path(self) -> str:
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}"

    @property
    def _job_path(self) -> str:
        return f"{self._jobs_path}/{self.name}"


def wait_until(check: Callable[[], bool], timeout: float, interval: float = 0.1) -> bool:
    """Poll until ``check`` holds; whether it did in time."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
