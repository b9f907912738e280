"""A namespace with AlignmentJobs in it, and hands that do what nodes would do to its Pods."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from alignment_api import labels
from alignment_api.contract import Summary
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import GROUP, PLURAL, VERSION

from ..control_plane import MERGE, ApiError, ControlPlane

Manifest = dict[str, Any]
CLAIM = "workspace"


def sft_stage(name: str) -> Manifest:
    """A stage that trains on inline rows."""
    rows = {"inline": {"rows": [{"prompt": "a", "completion": "b"}]}, "format": "promptCompletion"}
    return {"name": name, "dataset": rows, "sft": {}}


def alignment_job(name: str, *, stages: list[Manifest] | None = None, **spec: Any) -> Manifest:
    """An AlignmentJob; without ``stages`` it has one."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "AlignmentJob",
        "metadata": {"name": name},
        "spec": {
            "model": {"volume": {"path": "models/tiny"}},
            "workspace": {"persistentVolumeClaim": {"claimName": CLAIM}},
            "runtime": {"nodes": 2},
            "stages": stages or [sft_stage("sft")],
            **spec,
        },
    }


@dataclass(frozen=True)
class Team:
    """One namespace."""

    plane: ControlPlane
    namespace: str

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object; of the kinds used here only."""
        return self.plane.request("POST", self._path(manifest["kind"]), manifest)

    def create_claim(self) -> None:
        """Create the claim that the jobs name."""
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        self.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": spec})

    def get(self, kind: str, name: str) -> Manifest:
        """One object."""
        return self.plane.request("GET", f"{self._path(kind)}/{name}")

    def patch(self, kind: str, name: str, patch: Manifest) -> Manifest:
        """Merge ``patch`` into an object."""
        return self.plane.request("PATCH", f"{self._path(kind)}/{name}", patch, content_type=MERGE)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object, in the background."""
        self.plane.request("DELETE", f"{self._path(kind)}/{name}", {"propagationPolicy": "Background"})

    def find(self, kind: str, job: Manifest | None = None) -> list[Manifest]:
        """All objects of a kind, or those that belong to one AlignmentJob."""
        selector = f"?labelSelector={labels.JOB_UID}%3D{job['metadata']['uid']}" if job else ""
        items: list[Manifest] = self.plane.request("GET", self._path(kind) + selector)["items"]
        return items

    def status(self, name: str) -> Manifest:
        """The status of an AlignmentJob; empty as long as there is none."""
        status: Manifest = self.get("AlignmentJob", name).get("status", {})
        return status

    def condition(self, name: str, type_: str) -> Manifest:
        """One condition of an AlignmentJob; empty when it has none of that type."""
        conditions = self.status(name).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == type_), {})

    def run_pods(self, job: Manifest, role: str, address: str = "") -> int:
        """Do as if the Pods of that role were started by nodes; returns how many were."""
        pods = [pod for pod in self._pods(job, role) if pod["status"]["phase"] == "Pending"]
        for pod in pods:
            status = {"phase": "Running", **({"podIP": address, "podIPs": [{"ip": address}]} if address else {})}
            self._set_status(pod, status)
        return len(pods)

    def finish_pods(self, job: Manifest, role: str, summary: Summary | None = None) -> int:
        """Do as if the containers of that role had ended well; returns how many did."""
        return self._end_pods(job, role, summary or Summary(exit_code=ExitCode.OK))

    def fail_pods(self, job: Manifest, role: str, exit_code: int) -> int:
        """Do as if the containers of that role had ended badly; returns how many did."""
        return self._end_pods(job, role, Summary(exit_code=exit_code))

    def _end_pods(self, job: Manifest, role: str, summary: Summary) -> int:
        pods = [pod for pod in self._pods(job, role) if pod["status"]["phase"] in ("Pending", "Running")]
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        for pod in pods:
            ended = {
                "exitCode": summary.exit_code,
                "reason": "Error" if summary.exit_code else "Completed",
                "message": summary.to_termination_message(),
                "finishedAt": now,
                "startedAt": now,
            }
            container = {
                "name": labels.CONTAINER,
                "image": "x",
                "imageID": "x",
                "ready": False,
                "restartCount": 0,
                "state": {"terminated": ended},
            }
            phase = "Failed" if summary.exit_code else "Succeeded"
            self._set_status(pod, {"phase": phase, "containerStatuses": [container]})
        return len(pods)

    def _pods(self, job: Manifest, role: str) -> list[Manifest]:
        return [pod for pod in self.find("Pod", job) if pod["metadata"]["labels"][labels.ROLE] == role]

    def _set_status(self, pod: Manifest, status: Manifest) -> None:
        path = f"{self._path('Pod')}/{pod['metadata']['name']}/status"
        try:
            self.plane.request("PATCH", path, {"status": status}, content_type=MERGE)
        except ApiError as error:
            if error.status != 404:
                raise

    def _path(self, kind: str) -> str:
        if kind == "AlignmentJob":
            return f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}"
        prefix = "/apis/batch/v1" if kind == "Job" else "/api/v1"
        return f"{prefix}/namespaces/{self.namespace}/{kind.lower()}s"
