"""Asks Kueue why it has not admitted Jobs that wait in its queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..exceptions import ClusterError, NotFoundError
from ..planning.observed import Manifest
from .client import Client
from .resources import Resource
from .store import uid_of

_WORKLOADS: Final = tuple(
    Resource("kueue.x-k8s.io", version, "Workload", "workloads") for version in ("v1beta2", "v1beta1")
)
"""Versions that are asked for, newest first; what is read of a Workload is the same in all of them."""

_JOB_UID_LABEL: Final = "kueue.x-k8s.io/job-uid"
_NOT_INSTALLED: Final = "Kueue is not installed in this cluster: install it, or leave out scheduling.queueName"
_NOT_SEEN: Final = "Kueue has no Workload for it yet (is it running, and is its integration batch/job on?)"

_STEPS: Final = ("QuotaReserved", "Admitted")
"""Conditions of a Workload in the order in which they become true; the message of the first that is not says why."""


class Queues:
    """Reads Workloads, which are not watched: Kueue may be missing, or come and go."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def messages(self, namespace: str, jobs: Sequence[Manifest]) -> Mapping[str, str]:
        """Why Kueue has not admitted each of ``jobs`` that is suspended, by the Job's name.

        A question that cannot be answered is no reason to stop: what went wrong is then the answer.
        """
        waiting = {
            uid_of(job): str(job["metadata"]["name"])
            for job in jobs
            if job["spec"].get("suspend") and "deletionTimestamp" not in job["metadata"]
        }
        if not waiting:
            return {}
        try:
            workloads = await self._workloads(namespace, list(waiting))
        except NotFoundError:
            return dict.fromkeys(waiting.values(), _NOT_INSTALLED)
        except ClusterError as error:
            return dict.fromkeys(waiting.values(), str(error))
        found = {workload["metadata"]["labels"][_JOB_UID_LABEL]: why_not_admitted(workload) for workload in workloads}
        return {name: found.get(uid, _NOT_SEEN) for uid, name in waiting.items()}

    async def _workloads(self, namespace: str, uids: Sequence[str]) -> list[Manifest]:
        selector = {"labelSelector": f"{_JOB_UID_LABEL} in ({','.join(uids)})"}
        doing = f"list Workloads of namespace {namespace}"
        for resource in _WORKLOADS:
            try:
                answer = await self._client.request("GET", resource.path(namespace), doing=doing, query=selector)
            except NotFoundError:
                continue
            workloads: list[Manifest] = answer["items"]
            return workloads
        raise NotFoundError(f"cannot {doing}: no version of them is served")


def why_not_admitted(workload: Manifest) -> str:
    """What a Workload that is not admitted waits for, in Kueue's words."""
    if not workload.get("spec", {}).get("active", True):
        return f"its Workload {workload['metadata']['name']} is deactivated: set its spec.active to true"
    status: Mapping[str, Any] = workload.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    for step in _STEPS:
        if conditions.get(step, {}).get("status") != "True":
            message: str = conditions.get(step, {}).get("message") or ""
            return message or _without_words(step, status)
    return "Kueue has admitted it and starts it now"


def _without_words(step: str, status: Mapping[str, Any]) -> str:
    checks = [
        f"admission check {check['name']}: {check.get('message') or check['state']}"
        for check in status.get("admissionChecks") or ()
        if check.get("state") != "Ready"
    ]
    return "; ".join(checks) if step == "Admitted" and checks else "Kueue has not looked at it yet"
