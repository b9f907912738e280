"""How long a step that a trainer reports takes to show up in the status of its AlignmentJob."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from tests.cluster.shell import ClusterError

from .namespace import Namespace, Object, holds


@dataclass
class Freshness:
    """Watches a job from both ends: rank 0's own answer and the resource's status.

    Attributes:
        at_trainer: when a step was first seen at rank 0, by (stage, step), seconds of the monotonic clock.
        in_status: when that step or a later one was first seen in status.
    """

    namespace: Namespace
    name: str
    at_trainer: dict[tuple[str, int], float] = field(default_factory=dict)
    in_status: dict[tuple[str, int], float] = field(default_factory=dict)

    def watch_until_finished(self, timeout: float) -> Object:
        """Look about once a second until the job is finished; returns it."""
        deadline = time.monotonic() + timeout
        while True:
            job = self.namespace.get("alignmentjob", self.name)
            self._note_status(job)
            if holds(job, "Complete") or holds(job, "Failed"):
                return job
            assert time.monotonic() < deadline, json.dumps(job.get("status"), indent=1)
            self._ask_trainers(job)
            time.sleep(0.5)

    def lags(self) -> list[float]:
        """Seconds from each step seen at a trainer to its showing in status."""
        return [self.in_status[key] - seen for key, seen in self.at_trainer.items() if key in self.in_status]

    def _note_status(self, job: Object) -> None:
        now = time.monotonic()
        for stage in job.get("status", {}).get("stages", []):
            reached = (stage.get("progress") or {}).get("step", 0)
            for key in self.at_trainer:
                if key[0] == stage["name"] and key[1] <= reached:
                    self.in_status.setdefault(key, now)

    def _ask_trainers(self, job: Object) -> None:
        """Ask rank 0 of each running stage, through the API server's proxy; a Pod that does not answer is skipped."""
        for stage in job.get("status", {}).get("stages", []):
            if stage["phase"] != "Running" or stage["method"] == "evaluate":
                continue
            for pod in self.namespace.pods(self.name, stage["name"]):
                index = pod["metadata"]["labels"].get("batch.kubernetes.io/job-completion-index")
                if index != "0" or pod["status"].get("phase") != "Running":
                    continue
                path = f"/api/v1/namespaces/{self.namespace.name}/pods/{pod['metadata']['name']}:8080/proxy/progress"
                try:
                    step = json.loads(self.namespace.run("get", "--raw", path))["step"]
                except (ClusterError, ValueError, KeyError):
                    continue
                if step > 0:
                    self.at_trainer.setdefault((stage["name"], step), time.monotonic())
