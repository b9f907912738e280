"""The cluster that faults strike: the operator on the node that never dies, and a workspace that can be filled."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.cluster import cluster, install, network, node, processes, volumes
from tests.cluster.layout import node_name
from tests.e2e.harness import Cluster, example

from . import gang
from .scene import Scene, wait_until
from .schedule import CHECKPOINT_EVERY, STEPS, RunPlan

NAMESPACE: Final = "chaos"
_CLEAN_PATIENCE: Final = 180.0
_CHILDREN: Final = ("jobs", "pods", "services", "configmaps", "endpointslices")
_POD_MOUNT: Final = re.compile(r"/pods/([0-9a-f-]{36})/")
_CLAIM: Final = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "alignment"},
    "spec": {
        "storageClassName": volumes.SMALL,
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "5Gi"}},
    },
}


@contextmanager
def chaos_cluster(nodes: int) -> Iterator[Cluster]:
    """The cluster with operator, namespace and seeded workspace; gone afterwards."""
    target = install.own_cluster(nodes)
    try:
        install.operator(target, {"nodeSelector.kubernetes\\.io/hostname": node_name(1)})
        built = Cluster(target)
        namespace = built.namespace(NAMESPACE)
        # Created, not applied: the seed's manifest names no class, and must not be taken to want another one.
        namespace.run("create", "-f", "-", stdin=json.dumps(_CLAIM))
        install.seed(target, NAMESPACE)
        yield built
    finally:
        install.cluster_down()


def manifest(plan: RunPlan, name: str) -> dict[str, Any]:
    """The quickstart's first stages, short, with a checkpoint every few steps and patience with every failure."""
    job = example("quickstart/alignmentjob.yaml")
    job["metadata"] = {"name": name, "namespace": NAMESPACE}
    spec = job["spec"]
    del spec["promotion"]
    spec["stages"] = [stage for stage in spec["stages"] if stage["name"] in plan.stages]
    for stage in spec["stages"]:
        stage["dataset"].pop("evalFraction", None)
        stage["training"] |= {
            "maxSteps": STEPS[stage["name"]],
            "globalBatchSize": 8,
            "microBatchSize": 4,
            "loggingSteps": 1,
            "checkpoint": {"everySteps": CHECKPOINT_EVERY, "keep": 2},
        }
    budgets = ("infrastructure", "device", "communication", "stalled", "storage")
    spec["runPolicy"] = {
        "progressDeadlineSeconds": 300,
        "progressDeadlines": {"firstStepSeconds": 120, "stepSeconds": 25, "savingSeconds": 60},
        "retries": dict.fromkeys(budgets, 50) | {"backoff": {"initialSeconds": 1, "maxSeconds": 1}},
        "avoidNodeAfterFailures": 0,
    }
    lost = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    spec["runtime"]["podTemplate"] = {
        "tolerations": [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3} for key in lost
        ]
    }
    return job


def orphans(scene: Scene, pods: set[str]) -> list[str]:
    """What is left of a deleted job after a while: objects, processes, mounts of its Pods."""
    left: list[str] = []

    def clean() -> bool:
        left[:] = [f"{kind}/{child['metadata']['name']}" for kind in _CHILDREN for child in scene.children(kind)]
        left.extend(f"process {pid}" for pid in gang.trainer_processes())
        left.extend(f"mount {place}" for place in _mounts(pods))
        return not left

    wait_until(clean, _CLEAN_PATIENCE, 0.5)
    return left


def make_whole(nodes: int) -> None:
    """Undo what a run that was broken off may have left undone."""
    for number in range(1, nodes + 1):
        if not processes.pid_of(node_name(number)):
            cluster.start_node(number)
        network.set_connected(number, True)
        node.wait_for_containerd(number)
    (volumes.small() / "filler").unlink(missing_ok=True)


def _mounts(pods: set[str]) -> Iterator[str]:
    """Where volumes of these Pods are still mounted on a node."""
    for number in cluster.running_nodes():
        table = Path(f"/proc/{processes.pid_of(node_name(number))}/mounts").read_text()
        for line in table.splitlines():
            found = _POD_MOUNT.search(line)
            if found and found.group(1) in pods:
                yield f"{node_name(number)}:{line.split()[1]}"
