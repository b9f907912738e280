"""Posts Kubernetes events about AlignmentJobs."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Final

from alignment_api import labels

from ..planning.actions import Event
from ..planning.observed import Manifest
from ..status.text import bounded
from .client import Client
from .resources import ALIGNMENT_JOB, EVENT
from .store import key_of, uid_of

_MAX_MESSAGE: Final = 1024
"""The API server refuses longer ones."""

_MAX_NAME: Final = 253 - 17


class EventWriter:
    """Posts events. They are for people only: the status says everything that an event says."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def post(self, job: Manifest, event: Event) -> None:
        """Post ``event`` about ``job``.

        Raises:
            ClusterError: it was not posted, or the answer was lost.
        """
        key = key_of(job)
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        await self._client.request(
            "POST",
            EVENT.path(key.namespace),
            doing=f"post an event about AlignmentJob {key}",
            body={
                "apiVersion": EVENT.api_version,
                "kind": EVENT.kind,
                "metadata": {"namespace": key.namespace, "name": f"{key.name[:_MAX_NAME]}.{secrets.token_hex(8)}"},
                "involvedObject": {
                    "apiVersion": ALIGNMENT_JOB.api_version,
                    "kind": ALIGNMENT_JOB.kind,
                    "namespace": key.namespace,
                    "name": key.name,
                    "uid": uid_of(job),
                },
                "type": event.type,
                "reason": event.reason,
                "message": bounded(event.message, _MAX_MESSAGE),
                "source": {"component": labels.MANAGER},
                "reportingComponent": labels.MANAGER,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            },
        )
