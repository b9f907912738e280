"""A small cluster in memory: API server, Job controller, kubelets and garbage collector, one move at a time.

It behaves as batch/v1 does for Indexed Jobs with ``backoffLimit: 0``. What an operator sees of it can be held back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from alignment_api import labels
from alignment_operator.planning.actions import ObjectKey, Plan
from alignment_operator.planning.attempts import PREPARE, PROMOTION
from alignment_operator.planning.observed import Observed

from .manifests import EPOCH, timestamp

Object = dict[str, Any]


class SimulatedCluster:
    """The truth, and a view of it that may lag behind but always holds the operator's own writes.

    Attributes:
        job: the AlignmentJob.
        jobs, pods: objects by name.
        created: how often a Job of each name was created.
        succeeded: names of the Jobs of which all Pods succeeded.
    """

    def __init__(self, alignment_job: Object) -> None:
        self.now = EPOCH
        self.job = alignment_job
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.created: dict[str, int] = {}
        self.succeeded: set[str] = set()
        self.lost_pods: set[str] = set()
        self._held_back: tuple[dict[str, Object], dict[str, Object]] | None = None

    # What the operator does.

    def observe(self, **extra: Any) -> Observed:
        """What the operator sees."""
        jobs, pods = self._held_back or (self.jobs, self.pods)
        return Observed(tuple(copy.deepcopy(list(jobs.values()))), tuple(copy.deepcopy(list(pods.values()))), **extra)

    def hold_back(self) -> None:
        """From now on the operator's view stands still."""
        self._held_back = copy.deepcopy((self.jobs, self.pods))

    def catch_up(self) -> None:
        """The operator's view is the truth again."""
        self._held_back = None

    def carry_out(self, plan: Plan, steps: int | None = None) -> None:
        """Do what ``plan`` says; only the first ``steps`` steps when the operator is killed in the middle."""
        actions: list[Callable[[], None]] = [partial(self.apply, manifest) for manifest in plan.apply]
        actions += [partial(self.delete, key) for key in plan.clear]
        if plan.status is not None:
            actions.append(partial(self.job.update, status=plan.status.to_yaml_dict()))
        actions += [partial(self.delete, key) for key in plan.delete]
        for action in actions[:steps]:
            action()

    def apply(self, manifest: Object) -> None:
        if manifest["kind"] != "Job" or manifest["metadata"]["name"] in self.jobs:
            return
        name = manifest["metadata"]["name"]
        job = copy.deepcopy(manifest)
        job["metadata"]["creationTimestamp"] = timestamp(self.now)
        job["status"] = {"conditions": []}
        job["succeeded"] = []
        self.jobs[name] = job
        self.created[name] = self.created.get(name, 0) + 1
        if self._held_back is not None:
            self._held_back[0][name] = copy.deepcopy(job)

    def delete(self, key: ObjectKey) -> None:
        if key.kind == "Job":
            self.delete_job(key.name)
            if self._held_back is not None:
                self._held_back[0].pop(key.name, None)
        elif key.kind == "Pod" and key.name in self.pods:
            self.delete_pod(key.name)
        elif key.kind == "AlignmentJob":
            self.job["metadata"]["deletionTimestamp"] = timestamp(self.now)

    # What happens by itself, or by people.

    def pass_time(self, seconds: float) -> None:
        """Living kubelets kill what has not stopped when its grace period ends."""
        self.now += timedelta(seconds=seconds)
        self._stop(137, [name for name, pod in self.pods.items() if _grace_is_over(pod, self.now)])

    def delete_job(self, name: str) -> None:
        """The Job is gone at once; its Pods are told to stop."""
        if self.jobs.pop(name, None) is not None:
            for pod_name, pod in list(self.pods.items()):
                if pod["job"] == name:
                    self.delete_pod(pod_name)

    def delete_pod(self, name: str) -> None:
        pod = self.pods[name]
        if pod["status"]["phase"] in ("Succeeded", "Failed"):
            del self.pods[name]
        elif "deletionTimestamp" not in pod["metadata"]:
            pod["metadata"]["deletionTimestamp"] = timestamp(self.now + timedelta(seconds=120))

    def admit(self, name: str) -> None:
        """Kueue starts a Job."""
        self.jobs[name]["spec"]["suspend"] = False

    def take_back(self, name: str) -> None:
        """Kueue suspends a Job again: its Pods are told to stop, and made anew when it is admitted once more."""
        job = self.jobs[name]
        if not (_has(job, "Complete") or _has(job, "Failed") or _has(job, "FailureTarget")):
            job["spec"]["suspend"] = True
            job.pop("pods_made", None)
            for pod_name, pod in list(self.pods.items()):
                if pod["job"] == name:
                    self.delete_pod(pod_name)

    def sync_jobs(self) -> None:
        """One round of the Job controller."""
        for name, job in self.jobs.items():
            pods = {pod_name: pod for pod_name, pod in self.pods.items() if pod["job"] == name}
            if _has(job, "Complete") or _has(job, "Failed") or job["spec"].get("suspend"):
                continue
            vanished = job.get("pods_made", 0) - len({*pods, *job["succeeded"]})
            failed = vanished > 0 or any(
                pod["status"]["phase"] == "Failed"
                or ("deletionTimestamp" in pod["metadata"] and pod["status"]["phase"] != "Succeeded")
                for pod in pods.values()
            )
            if failed or _has(job, "FailureTarget"):
                _set(job, "FailureTarget")
                for pod_name, pod in pods.items():
                    if pod["status"]["phase"] not in ("Succeeded", "Failed"):
                        self.delete_pod(pod_name)
                if all(pod["status"]["phase"] in ("Succeeded", "Failed") for pod in pods.values()):
                    _set(job, "Failed")
            elif _all_succeeded(job):
                _set(job, "Complete")
            elif "pods_made" not in job:
                self._make_pods(name, job, job["spec"]["completions"])

    def _make_pods(self, name: str, job: Object, count: int) -> None:
        job["pods_made"] = count
        for index in range(count):
            pod_labels = dict(job["spec"]["template"]["metadata"]["labels"])
            pod_labels["batch.kubernetes.io/job-completion-index"] = str(index)
            pod_name = f"{name}-{index}-x"
            self.pods[pod_name] = {
                "job": name,
                "metadata": {
                    "name": pod_name,
                    "namespace": "team-a",
                    "labels": pod_labels,
                    "creationTimestamp": timestamp(self.now),
                    "ownerReferences": [{"kind": "Job", "name": name}],
                },
                "spec": {"nodeName": f"node-{index}"},
                "status": {"phase": "Pending", "conditions": []},
            }

    def run_pod(self, name: str) -> None:
        pod = self.pods[name]
        if pod["status"]["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
            self._container(pod, "Running", {"running": {"startedAt": timestamp(self.now)}})

    def end_pod(self, name: str, code: int, message: str = "") -> None:
        """The container ends by itself."""
        pod = self.pods[name]
        if pod["status"]["phase"] == "Running" and name not in self.lost_pods:
            terminated = {"exitCode": code, "message": message, "finishedAt": timestamp(self.now)}
            self._container(pod, "Failed" if code else "Succeeded", {"terminated": terminated})
            if code == 0 and (job := self.jobs.get(pod["job"])) is not None:
                # A finalizer keeps the Pod until the Job controller has counted it, whoever deletes it before.
                job["succeeded"].append(name)
                if _all_succeeded(job):
                    self.succeeded.add(pod["job"])

    def disrupt_pod(self, name: str, reason: str) -> None:
        """Preemption, eviction, or the taint manager."""
        pod = self.pods[name]
        if pod["status"]["phase"] in ("Pending", "Running"):
            pod["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": reason})
            self.delete_pod(name)
            if reason == "DeletionByTaintManager":
                self.lost_pods.add(name)

    def stop_pods(self, code: int) -> None:
        """Kubelets stop what is being deleted; the Pod object goes, but for one whose Job still counts it."""
        self._stop(code, [name for name, pod in self.pods.items() if "deletionTimestamp" in pod["metadata"]])

    def _stop(self, code: int, names: list[str]) -> None:
        for name in names:
            pod = self.pods[name]
            if name not in self.lost_pods:
                if pod["job"] in self.jobs and pod["status"]["phase"] == "Running":
                    self.end_pod(name, code)
                else:
                    del self.pods[name]

    def _container(self, pod: Object, phase: str, state: Object) -> None:
        pod["status"]["phase"] = phase
        pod["status"]["containerStatuses"] = [{"name": "trainer", "state": state}]

    # What is true.

    def live_attempts(self, *, with_stopping: bool) -> dict[str, set[int]]:
        """Numbers of the live attempts by stage, `PREPARE` or `PROMOTION`.

        Args:
            with_stopping: whether Pods count that are being deleted, as long as their kubelet may answer.
        """
        live: dict[str, set[int]] = {}
        for job in self.jobs.values():
            over = _all_succeeded(job) or any(_has(job, kind) for kind in ("Failed", "FailureTarget"))
            if "pods_made" in job and not over:
                _add(live, job)
        for name, pod in self.pods.items():
            if pod["status"]["phase"] in ("Succeeded", "Failed") or name in self.lost_pods:
                continue
            if with_stopping or "deletionTimestamp" not in pod["metadata"]:
                _add(live, pod)
        return live


def run_of(child: Object) -> str:
    """The stage that a Job or Pod belongs to, or `PREPARE` or `PROMOTION`."""
    its_labels = child["metadata"]["labels"]
    chores = {labels.ROLE_PREPARE: PREPARE, labels.ROLE_PROMOTE: PROMOTION}
    stage: str = its_labels.get(labels.STAGE) or chores[its_labels[labels.ROLE]]
    return stage


def _add(live: dict[str, set[int]], child: Object) -> None:
    live.setdefault(run_of(child), set()).add(int(child["metadata"]["labels"][labels.ATTEMPT]))


def _grace_is_over(pod: Object, now: datetime) -> bool:
    deletion = pod["metadata"].get("deletionTimestamp")
    return deletion is not None and datetime.fromisoformat(deletion) <= now


def _all_succeeded(job: Object) -> bool:
    wanted: int = job["spec"]["completions"]
    return len(job["succeeded"]) == wanted


def _has(job: Object, kind: str) -> bool:
    return any(condition["type"] == kind for condition in job["status"]["conditions"])


def _set(job: Object, kind: str) -> None:
    if not _has(job, kind):
        job["status"]["conditions"].append({"type": kind, "status": "True", "reason": "X", "message": kind})
