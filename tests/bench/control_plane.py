"""How fast jobs become Pods, and how many writes that costs: the operator against a real control plane with kwok nodes.

Measured for each of N jobs of one SFT stage with a gang of two Pods:

- apply -> the Prepare Pod exists
- the Prepare Pod succeeded -> both Pods of the first gang exist
- the operator's writes to the API server from apply to Complete

The peer: Kubeflow Trainer v2.3.0 on such a machine takes 0.071 s (median) from create to both Pods of one job and makes
8.2 writes a job.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from kubernetes import client, config, watch
from urllib3.exceptions import HTTPError

from alignment_api import labels
from alignment_api.v1alpha1 import GROUP, PLURAL, VERSION
from tests.api.client import Kubectl
from tests.api.control_plane import ControlPlane, running_control_plane
from tests.api.operator.process import OperatorProcess, grant_rights
from tests.cluster.tools import build_module

JOBS = 50
NODES = 4
_STAGES = Path(__file__).with_name("kwok.yaml")
_NAMESPACE = "default"


@dataclass
class Seen:
    """When things were first seen, seconds of the monotonic clock, by name of the AlignmentJob."""

    applied: dict[str, float] = field(default_factory=dict)
    prepare_pod: dict[str, float] = field(default_factory=dict)
    prepared: dict[str, float] = field(default_factory=dict)
    gang: dict[str, float] = field(default_factory=dict)
    gang_pods: dict[str, set[str]] = field(default_factory=dict)
    complete: dict[str, float] = field(default_factory=dict)

    def pod(self, pod: dict[str, Any]) -> None:
        """Note a Pod."""
        metadata = pod["metadata"]
        job = metadata["labels"][labels.JOB_NAME]
        if metadata["labels"][labels.ROLE] == labels.ROLE_PREPARE:
            self.prepare_pod.setdefault(job, time.monotonic())
            if pod.get("status", {}).get("phase") == "Succeeded":
                self.prepared.setdefault(job, time.monotonic())
            return
        pods = self.gang_pods.setdefault(job, set())
        pods.add(metadata["name"])
        if len(pods) == 2:
            self.gang.setdefault(job, time.monotonic())

    def alignment_job(self, job: dict[str, Any]) -> None:
        """Note an AlignmentJob."""
        conditions = job.get("status", {}).get("conditions") or []
        if any(entry["type"] == "Complete" and entry["status"] == "True" for entry in conditions):
            self.complete.setdefault(job["metadata"]["name"], time.monotonic())


def manifest(number: int) -> dict[str, Any]:
    """One of the measured jobs."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "AlignmentJob",
        "metadata": {"name": f"bench-{number}"},
        "spec": {
            "model": {"volume": {"path": "models/tiny"}},
            "workspace": {"persistentVolumeClaim": {"claimName": "workspace"}},
            "runtime": {"nodes": 2},
            "stages": [
                {
                    "name": "sft",
                    "dataset": {"inline": {"rows": [{"prompt": "a", "completion": "b"}]}},
                    "sft": {},
                    "training": {"globalBatchSize": 2},
                }
            ],
        },
    }


def measure(plane: ControlPlane, apply_every: float) -> Seen:
    """Apply the jobs one after another, ``apply_every`` seconds apart, and wait until all are complete."""
    seen = Seen()
    configuration = client.Configuration()
    config.load_kube_config(str(plane.kubeconfig()), client_configuration=configuration)
    api = client.ApiClient(configuration)
    core, custom = client.CoreV1Api(api), client.CustomObjectsApi(api)
    ours = {"namespace": _NAMESPACE, "label_selector": labels.JOB_NAME}
    for note, call, arguments in (
        (seen.pod, core.list_namespaced_pod, ours),
        (
            seen.alignment_job,
            custom.list_namespaced_custom_object,
            {"group": GROUP, "version": VERSION, "namespace": _NAMESPACE, "plural": PLURAL},
        ),
    ):
        threading.Thread(target=_watch, args=(note, call, arguments), daemon=True).start()
    time.sleep(1)
    for number in range(JOBS):
        body = manifest(number)
        seen.applied[body["metadata"]["name"]] = time.monotonic()
        custom.create_namespaced_custom_object(GROUP, VERSION, _NAMESPACE, PLURAL, body)
        time.sleep(apply_every)
    deadline = time.monotonic() + 120
    while len(seen.complete) < JOBS:
        assert time.monotonic() < deadline, f"only {len(seen.complete)} of {JOBS} jobs are complete"
        time.sleep(0.1)
    return seen


def _watch(note: Any, call: Any, arguments: dict[str, Any]) -> None:
    # The stream ends with the control plane, and the thread with it.
    with suppress(HTTPError, client.ApiException):
        for event in watch.Watch().stream(call, **arguments):
            note(event["raw_object"])


@contextmanager
def kwok_nodes(plane: ControlPlane, kubectl: Kubectl) -> Iterator[None]:
    """A scheduler, and nodes that pretend."""
    kube = build_module("kubernetes") / "kube"
    kwok = build_module("kwok") / "kwok"
    commands: tuple[list[str | Path], ...] = (
        [kube, "kube-scheduler", f"--kubeconfig={plane.kubeconfig()}", "--leader-elect=false", "--secure-port=0",
         "--kube-api-qps=1000", "--kube-api-burst=2000"],
        [kwok, f"--kubeconfig={plane.kubeconfig()}", "--manage-all-nodes", f"--config={_STAGES}",
         "--node-ip=192.0.2.1", "--cidr=198.51.100.0/24"],
    )  # fmt: skip
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            log = (plane.directory / f"{Path(command[0]).name}-{len(processes)}.log").open("wb")
            processes.append(
                subprocess.Popen(
                    [str(part) for part in command],
                    stdout=log,
                    stderr=log,
                    env={"KUBE_FEATURE_WatchListClient": "false", "HOME": str(plane.directory)},
                )
            )
        for number in range(NODES):
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"kwok-{number}"}}
            kubectl("apply", "-f", "-", stdin=json.dumps(node))
        kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s")
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait(10)


def operator_writes(metrics: str) -> int:
    """Successful writes to the API server that the operator's own counters show."""
    pattern = re.compile(r"^alignment_operator_api_requests_total\{(.*)\} ([0-9.]+)$", re.MULTILINE)
    return round(
        sum(
            float(value)
            for tags, value in pattern.findall(metrics)
            if 'result="ok"' in tags and 'verb="GET"' not in tags
        )
    )


def table(title: str, seen: Seen, writes: int) -> str:
    """The figures of one run, for people."""

    def row(name: str, begin: dict[str, float], end: dict[str, float]) -> str:
        seconds = sorted(end[job] - begin[job] for job in begin)
        percentile = quantiles(seconds, n=100, method="inclusive")
        return f"  {name:<42} p50 {percentile[49]:.3f} s  p99 {percentile[98]:.3f} s  max {seconds[-1]:.3f} s"

    return "\n".join(
        [
            f"{title} ({len(seen.applied)} jobs, gangs of 2 Pods)",
            row("apply -> Prepare Pod exists", seen.applied, seen.prepare_pod),
            row("Prepare succeeded -> all gang Pods exist", seen.prepared, seen.gang),
            f"  {'operator writes per job, apply to Complete':<42} {writes / len(seen.applied):.1f}",
        ]
    )


def main() -> None:
    """Run the benchmark and print its table."""
    build_module("kwok")
    kube = build_module("kubernetes")
    for title, apply_every in (("one job a second", 1.0), ("burst", 0.0)):
        with tempfile.TemporaryDirectory() as name, running_control_plane(Path(name), kube / "kube") as plane:
            kubectl = Kubectl(kube / "kubectl", plane.kubeconfig())
            kubectl.install_crd()
            kubectl("create", "-f", "-", stdin=_CLAIM)
            rights = grant_rights(plane, kubectl, kube / "helm")
            operator = OperatorProcess(rights, plane.directory / "operator.log").start()
            try:
                with kwok_nodes(plane, kubectl):
                    seen = measure(plane, apply_every)
                    print(table(title, seen, operator_writes(operator.metrics())), flush=True)
            finally:
                operator.kill()


_CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: workspace, namespace: default}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: manual
  volumeName: workspace
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: workspace}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: manual
  capacity: {storage: 1Gi}
  hostPath: {path: /tmp}
  claimRef: {namespace: default, name: workspace}
"""

if __name__ == "__main__":
    main()
