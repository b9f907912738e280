"""Writes the status of AlignmentJobs, the only part of them that the operator ever writes."""

from __future__ import annotations

from typing import Any

from ..exceptions import NotFoundError
from ..planning.observed import Manifest
from .applier import FORCE
from .client import APPLY, Client
from .resources import ALIGNMENT_JOB
from .store import Key, Store, key_of, uid_of


class StatusWriter:
    """Applies statuses server-side: lists of conditions and stages are merged by key, others' conditions stay."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store

    async def write(self, job: Manifest, status: dict[str, Any]) -> None:
        """Make ``status`` the whole status of ``job``.

        Args:
            job: the AlignmentJob that the status was planned from. Its uid and resourceVersion are preconditions: a new
                job of the same name does not inherit a status, and what was planned from old news is not written.
            status: as in YAML.

        Raises:
            ConflictError: the job is not what it was; `reread` it and plan again.
            ClusterError: it was not written, or the answer was lost.
        """
        key = key_of(job)
        answer = await self._client.request(
            "PATCH",
            ALIGNMENT_JOB.path(key.namespace, key.name, "status"),
            doing=f"write the status of AlignmentJob {key}",
            query=FORCE,
            body={
                "apiVersion": ALIGNMENT_JOB.api_version,
                "kind": ALIGNMENT_JOB.kind,
                "metadata": {
                    "namespace": key.namespace,
                    "name": key.name,
                    "uid": uid_of(job),
                    "resourceVersion": job["metadata"]["resourceVersion"],
                },
                "status": status,
            },
            content_type=APPLY,
        )
        self._store.put(ALIGNMENT_JOB, answer)

    async def reread(self, key: Key) -> None:
        """Learn what became of a write that was refused or not answered.

        Raises:
            ClusterError: the API server did not say.
        """
        try:
            answer = await self._client.request(
                "GET", ALIGNMENT_JOB.path(key.namespace, key.name), doing=f"read AlignmentJob {key}"
            )
        except NotFoundError:
            known = self._store.alignment_jobs.get(key)
            if known is not None:
                self._store.remove(ALIGNMENT_JOB, known)
        else:
            self._store.put(ALIGNMENT_JOB, answer)
