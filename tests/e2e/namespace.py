"""A namespace of the test cluster as a user sees it: everything goes through kubectl."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.cluster.kubectl import Kubectl

Object = dict[str, Any]


@dataclass(frozen=True)
class Namespace:
    """kubectl, bound to one namespace."""

    name: str
    kubectl: Kubectl

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl in the namespace and return what it prints."""
        return self.kubectl.run(*arguments, stdin=stdin, namespace=self.name, timeout=timeout)

    def apply(self, manifest: Object) -> None:
        """Client-side apply, as most users do."""
        self.run("apply", "-f", "-", stdin=json.dumps(manifest))

    def get(self, kind: str, name: str) -> Object:
        """One object."""
        return self.kubectl.get_json(kind, name, namespace=self.name)

    def items(self, kind: str, selector: str | None = None) -> list[Object]:
        """All objects of a kind, or those with the given labels."""
        return self.kubectl.items(kind, namespace=self.name, selector=selector)

    def pods(self, job: str, stage: str) -> list[Object]:
        """The Pods of one stage of an AlignmentJob, all attempts."""
        return self.items("pods", f"alignment.dev/job-name={job},alignment.dev/stage={stage}")

    def wait_for(self, name: str, what: str, check: Callable[[Object], bool], timeout: float) -> Object:
        """Wait until ``check`` holds for an AlignmentJob, and return it.

        Raises:
            ClusterError: it did not within ``timeout`` seconds; the message carries the last status.
        """
        return self.kubectl.wait_for("alignmentjob", name, check, namespace=self.name, timeout=timeout, what=what)

    def wait_finished(self, name: str, timeout: float) -> Object:
        """Wait until the job is Complete or Failed."""
        return self.wait_for(name, "finished", lambda job: holds(job, "Complete") or holds(job, "Failed"), timeout)


def condition(job: Object, type_: str) -> Object | None:
    """A condition of an AlignmentJob, or None."""
    conditions = job.get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == type_), None)


def holds(job: Object, type_: str) -> bool:
    """Whether a condition is there and true."""
    found = condition(job, type_)
    return found is not None and found["status"] == "True"


def stage(job: Object, name: str) -> Object:
    """The status of one stage; empty before the operator has written any."""
    stages = job.get("status", {}).get("stages", [])
    return next((entry for entry in stages if entry["name"] == name), {})
