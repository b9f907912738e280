"""The test cluster itself: what the other tests build on holds, and `down` leaves nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import cluster, images, network, node
from tests.cluster.kubectl import Kubectl
from tests.cluster.layout import BRIDGE, STATE, VOLUMES, node_name

pytestmark = pytest.mark.cluster

NAMESPACE = "cluster-test"


def pod(name: str, script: str, **spec: Any) -> dict[str, Any]:
    """A Pod of the operator image that runs a Python script under the restricted profile."""
    container = {
        "name": "main",
        "image": images.current()["operator"],
        "command": ["python3", "-c", script],
        "volumeMounts": spec.pop("mounts", []),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            **spec,
        },
    }


@pytest.fixture(scope="module", params=[1, 2], ids=["one-node", "two-nodes"])
def nodes(request: pytest.FixtureRequest) -> Iterator[int]:
    """A fresh cluster of this many nodes, ended afterwards."""
    if not images.current():
        images.build_all()
    if cluster.is_up():
        pytest.skip("a cluster is up and in use: `make cluster-down` first")
    cluster.up(request.param)
    try:
        yield request.param
    finally:
        cluster.down()
        assert leftovers() == []


@pytest.fixture(scope="module")
def kubectl(nodes: int) -> Kubectl:
    """kubectl with a namespace for the tests."""
    client = Kubectl()
    client.create_namespace(NAMESPACE)
    client.wait_for("serviceaccount", "default", bool, namespace=NAMESPACE)
    return client


def leftovers() -> list[str]:
    """Everything of the cluster that can be found on this machine."""
    mounts = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "alignment-operator/cluster" in line
    ]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob("**/alignment-node-*")]
    links = [path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(BRIDGE)]
    routes = [line for line in subprocess.check_output(["ip", "route"], text=True).splitlines() if BRIDGE in line]
    rules = [line for line in subprocess.check_output(["iptables-save"], text=True).splitlines() if "KUBE" in line]
    commands = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "alignment-operator/cluster/" in command:
            commands.append(command)
    return (
        mounts + groups + links + routes + rules + commands + [str(path) for path in (STATE, VOLUMES) if path.exists()]
    )


def test_pod_runs_as_the_image_user_and_prints(kubectl: Kubectl) -> None:
    kubectl.apply(pod("user", "import os; print(os.getuid())"), namespace=NAMESPACE)
    kubectl.wait_for_phase("user", "Succeeded", namespace=NAMESPACE)
    assert kubectl.logs("user", namespace=NAMESPACE).strip() == "1000"


def test_pod_security_refuses_root(kubectl: Kubectl) -> None:
    refused = pod("root", "", hostNetwork=True)
    refused["spec"]["securityContext"] = {"runAsUser": 0}
    with pytest.raises(Exception, match="violates PodSecurity"):
        kubectl.apply(refused, namespace=NAMESPACE)


def test_claim_is_bound_and_written_by_the_pods_user(kubectl: Kubectl) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "work"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    volume = {"name": "work", "persistentVolumeClaim": {"claimName": "work"}}
    mounts = [{"name": "work", "mountPath": "/volume"}]
    script = "import pathlib; pathlib.Path('/volume/written').write_text('yes')"
    kubectl.apply(claim, pod("writer", script, volumes=[volume], mounts=mounts), namespace=NAMESPACE)
    kubectl.wait_for_phase("writer", "Succeeded", namespace=NAMESPACE)
    bound = kubectl.get_json("pvc", "work", namespace=NAMESPACE)["spec"]["volumeName"]
    assert (VOLUMES / bound / "written").read_text() == "yes"


def test_headless_service_name_resolves_and_pods_reach_each_other(kubectl: Kubectl, nodes: int) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "gang"},
        "spec": {
            "clusterIP": "None",
            "selector": {"app": "server"},
            "publishNotReadyAddresses": True,
            "ports": [{"port": 8000}],
        },
    }
    server = pod(
        "server",
        "import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port=8000)",
        hostname="rank-0",
        subdomain="gang",
        nodeName=node_name(1),
    )
    url = f"http://rank-0.gang.{NAMESPACE}.svc:8000/"
    script = (
        "import time, urllib.request\n"
        "for _ in range(100):\n"
        "    try:\n"
        f"        print(urllib.request.urlopen('{url}', timeout=2).status); break\n"
        "    except OSError as error: time.sleep(0.1)\n"
    )
    kubectl.apply(service, server, pod("client", script, nodeName=node_name(nodes)), namespace=NAMESPACE)
    kubectl.wait_for_phase("client", "Succeeded", namespace=NAMESPACE)
    assert kubectl.logs("client", namespace=NAMESPACE).strip() == "200"
    assert "rank-0" in kubectl.execute("server", ["cat", "/etc/hostname"], namespace=NAMESPACE)


def test_service_address_reaches_the_api_server(kubectl: Kubectl) -> None:
    script = (
        "import os, ssl, urllib.request\n"
        "path = '/var/run/secrets/kubernetes.io/serviceaccount/'\n"
        "context = ssl.create_default_context(cafile=path + 'ca.crt')\n"
        "request = urllib.request.Request('https://kubernetes.default.svc/version',\n"
        "    headers={'Authorization': 'Bearer ' + open(path + 'token').read()})\n"
        "print(urllib.request.urlopen(request, context=context, timeout=5).read().decode())\n"
    )
    kubectl.apply(pod("api", script), namespace=NAMESPACE)
    kubectl.wait_for_phase("api", "Succeeded", "Failed", namespace=NAMESPACE)
    assert "v1.36" in kubectl.logs("api", namespace=NAMESPACE)


def test_power_cut_is_noticed_and_the_node_comes_back(kubectl: Kubectl, nodes: int) -> None:
    if nodes < 2:
        pytest.skip("needs a node that survives")
    sleeper = pod("sleeper", "import time; time.sleep(1000)", nodeName=node_name(2))
    kubectl.apply(sleeper, namespace=NAMESPACE)
    kubectl.wait_for_phase("sleeper", "Running", namespace=NAMESPACE)
    node.kill(2)

    def unknown(document: dict[str, Any]) -> bool:
        return any(item["type"] == "Ready" and item["status"] == "Unknown" for item in document["status"]["conditions"])

    kubectl.wait_for("node", node_name(2), unknown, what="not ready", timeout=30)
    cluster.start_node(2)
    kubectl.delete("pod", "sleeper", namespace=NAMESPACE)
    again = pod("again", "import os; print(os.uname().nodename)", nodeName=node_name(2))
    kubectl.apply(again, namespace=NAMESPACE)
    kubectl.wait_for_phase("again", "Succeeded", namespace=NAMESPACE)


def test_second_up_says_it_is_up(nodes: int, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.up(nodes)
    assert "already up" in capsys.readouterr().err
    assert network.exists()
