"""Kueue on the test cluster: a real one, built from its Go module and installed by the chart in it.

While it is installed, its webhooks are asked about every Job of the cluster, which then needs Kueue's node.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from . import cluster, images
from .kubectl import Kubectl, Object
from .layout import HERE
from .shell import ClusterError, output, step, wait_until
from .tools import build_module, tool

MODULE: Final = "kueue"
NAMESPACE: Final = "kueue-system"
_VERSION: Final = "kueue.x-k8s.io/v1beta2"
_CLUSTER_QUEUE: Final = "gangs"
_FLAVOR: Final = "machine"
_CONFIGURATION: Final = {
    "apiVersion": "config.kueue.x-k8s.io/v1beta2",
    "kind": "Configuration",
    "health": {"healthProbeBindAddress": ":8081"},
    "metrics": {"bindAddress": ":8443"},
    "webhook": {"port": 9443},
    "leaderElection": {"leaderElect": False},
    "integrations": {"frameworks": ["batch/job"]},
}


def install(kubectl: Kubectl) -> None:
    """Build Kueue unless that was done, bring it to the nodes, install it, and wait until its webhooks answer."""
    program = build_module(MODULE) / "kueue"
    image = images.program_image(program, "/manager", "65532:65532")  # where the chart starts it
    for number in cluster.running_nodes():
        images.load(number, (image,))
    with step("Kueue"), tempfile.NamedTemporaryFile("w", suffix=".json") as values:
        json.dump(_values(image), values)
        values.flush()
        _helm(kubectl, "upgrade", "--install", "kueue", _chart(), "--create-namespace", "--values", values.name)
        wait_until("Kueue's webhooks answer", lambda: _accepts(kubectl, _flavor()), 120, interval=0.5)


def uninstall(kubectl: Kubectl) -> None:
    """Remove Kueue with its queues, definitions and webhooks."""
    # Queues and flavors are held by finalizers that only a running Kueue takes away.
    for kind in ("localqueues", "clusterqueues", "resourceflavors"):
        kubectl.run("delete", f"{kind}.kueue.x-k8s.io", "--all", "--all-namespaces", "--timeout=60s")
    _helm(kubectl, "uninstall", "kueue", "--wait", "--timeout", "1m")


def create_queues(
    kubectl: Kubectl, namespace: str, names: Sequence[str], *, pods: int, priorities: Mapping[str, int]
) -> None:
    """LocalQueues that share a quota of so many Pods at once, in which an urgent gang preempts others.

    Args:
        priorities: WorkloadPriorityClasses by name.
    """
    # Every resource that a gang requests must be covered; only the number of Pods is scarce.
    quotas = {"pods": pods, "cpu": 1000, "memory": "1Ti"}
    flavor = {"name": _FLAVOR, "resources": [{"name": name, "nominalQuota": quotas[name]} for name in quotas]}
    shared = _object("ClusterQueue", _CLUSTER_QUEUE)
    shared["spec"] = {
        "namespaceSelector": {},
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "resourceGroups": [{"coveredResources": list(quotas), "flavors": [flavor]}],
    }
    classes = [_object("WorkloadPriorityClass", name) | {"value": value} for name, value in priorities.items()]
    kubectl.apply(_flavor(), *classes, shared)
    for name in names:
        kubectl.apply(_object("LocalQueue", name) | {"spec": {"clusterQueue": _CLUSTER_QUEUE}}, namespace=namespace)


def hold(kubectl: Kubectl, namespace: str, name: str, held: bool) -> None:
    """Let a LocalQueue admit nothing more, or let it go on."""
    patch = json.dumps({"spec": {"stopPolicy": "Hold" if held else "None"}})
    kubectl.run("patch", "localqueues.kueue.x-k8s.io", name, "--type=merge", "-p", patch, namespace=namespace)


def workloads(kubectl: Kubectl, namespace: str) -> list[Object]:
    """The Workloads of a namespace."""
    return kubectl.items("workloads.kueue.x-k8s.io", namespace=namespace)


def _helm(kubectl: Kubectl, *arguments: str | Path) -> None:
    environment = {**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)}
    output([tool("helm"), *arguments, "--namespace", NAMESPACE], env=environment)


def _chart() -> Path:
    """The chart in the module's own folder of the module cache."""
    source = HERE / "tools" / MODULE
    command = ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kueue"]
    listed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    return Path(listed.stdout.strip()) / "charts" / "kueue"


def _values(image: str) -> dict[str, Any]:
    repository, _, tag = image.rpartition(":")
    manager = {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    }
    return {
        # The chart takes the period from initialDelaySeconds as well.
        "controllerManager": {"manager": manager, "readinessProbe": {"initialDelaySeconds": 1}},
        "managerConfig": {"controllerManagerConfigYaml": json.dumps(_CONFIGURATION)},
    }


def _object(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": _VERSION, "kind": kind, "metadata": {"name": name}}


def _flavor() -> dict[str, Any]:
    return _object("ResourceFlavor", _FLAVOR) | {"spec": {}}


def _accepts(kubectl: Kubectl, document: Object) -> bool:
    try:
        kubectl.apply(document)
    except ClusterError:
        return False
    return True
