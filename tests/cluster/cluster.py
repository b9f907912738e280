"""Bring the whole cluster up and down, and tell what runs."""

from __future__ import annotations

import calendar
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import certificates as pki
from . import cgroups, control_plane, images, network, node, packages, processes, tools, volumes
from .api import Api
from .layout import (
    AUDIT_LOG,
    CLUSTER,
    KUBECONFIG,
    LOGS,
    MAX_NODES,
    STATE,
    VOLUMES,
    node_address,
    node_name,
    node_state,
)
from .shell import ClusterError, locked, say, step, wait_until

_LOCK = CLUSTER / "lock"


def _node_numbers() -> list[int]:
    return [number for number in range(1, MAX_NODES + 1) if (node_state(number) / "node.json").exists()]


def running_nodes() -> list[int]:
    """Return the numbers of the nodes that are on."""
    return [number for number in _node_numbers() if processes.pid_of(node_name(number))]


def is_up() -> bool:
    """Return whether the control plane and every node run."""
    numbers = _node_numbers()
    return bool(numbers) and numbers == running_nodes() and all(map(processes.pid_of, control_plane.COMPONENTS))


def prepare(modules: Sequence[str] = ()) -> dict[str, str]:
    """Install packages and build programs and images, those side by side: one waits for the network often.

    Args:
        modules: of which programs are built beside those that every cluster needs.

    Returns:
        The image references by kind.
    """
    packages.install()
    with ThreadPoolExecutor() as pool:
        programs = pool.submit(lambda: [tools.build_module(module) for module in ("kubernetes", *modules)])
        built = pool.submit(images.build_all)
        programs.result()
        return built.result()


def up(nodes: int = 1, kubeconfig: Path | None = None, fake_gpus: int = 0) -> None:
    """Start the cluster unless it already runs with as many nodes; return when Pods can be created."""
    if not 1 <= nodes <= MAX_NODES:
        raise ClusterError(f"1 to {MAX_NODES} nodes")
    if os.geteuid():
        raise ClusterError("the test cluster needs root")
    with locked(_LOCK, "up or down"):
        if is_up() and len(_node_numbers()) == nodes:
            say(f"already up with {nodes} node(s)")
        else:
            if STATE.exists():
                say("removing the cluster that is there")
                _down()
            packages.install()
            tools.build_module("kubernetes")
            _start(nodes)
    if fake_gpus:
        for number in range(1, nodes + 1):
            set_fake_gpus(number, fake_gpus)
    if kubeconfig:
        kubeconfig.write_bytes(KUBECONFIG.read_bytes())
    print(kubeconfig or KUBECONFIG)


def _start(nodes: int) -> None:
    numbers = range(1, nodes + 1)
    shutil.rmtree(LOGS, ignore_errors=True)
    for directory in (STATE, LOGS, VOLUMES):
        directory.mkdir(parents=True)
    volumes.mount_small()
    pause = images.pause_image()
    with step(f"cluster with {nodes} node(s)"):
        network.create()
        control_plane.start("etcd")
        pki.create([*control_plane.IDENTITIES, *map(pki.kubelet, numbers)])
        control_plane.start("kube-apiserver")
        pki.kubeconfig(pki.ADMIN, KUBECONFIG)
        with ThreadPoolExecutor() as pool:
            # The nodes fetch their images while the API server starts.
            loading = [pool.submit(_start_node, number, pause) for number in numbers]
            control_plane.wait_ready()
            node.API_READY.touch()
            for component in ("kube-controller-manager", "kube-scheduler", "coredns"):
                control_plane.start(component)
            api = Api()
            volumes.create(api)
            for number in numbers:
                _wait_registered(api, number)
            for future in loading:
                future.result()
        for number in numbers:
            _wait_ready(api, number)
        wait_until(
            "the default ServiceAccount exists",
            lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default") is not None,
            30,
        )
        _wait_dns()


def _start_node(number: int, pause: str) -> None:
    node.create(number, pause)
    node.start(number)
    node.wait_for_containerd(number)
    images.load(number, (pause,))


def _wait_registered(api: Api, number: int) -> None:
    name = node_name(number)
    wait_until(
        f"{name} registers (see {LOGS}/{name}-kubelet.log)", lambda: api.get(f"/api/v1/nodes/{name}") is not None, 60
    )
    node.registered_file(number).touch()


def _wait_ready(api: Api, number: int) -> None:
    def ready() -> bool:
        document = api.get(f"/api/v1/nodes/{node_name(number)}") or {}
        conditions = document.get("status", {}).get("conditions", [])
        taints = document.get("spec", {}).get("taints", [])
        return not taints and any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    wait_until(f"{node_name(number)} is ready (see {LOGS}/{node_name(number)}-kubelet.log)", ready, 60)


def _wait_dns() -> None:
    def answers() -> bool:
        if not processes.pid_of("coredns"):
            raise ClusterError(f"coredns ended:\n{processes.failure('coredns')}")
        return control_plane.dns_is_ready()

    wait_until("DNS is ready", answers, 30)


def down() -> None:
    """End everything that `up` started and remove what it made; images and logs stay for the next time."""
    with locked(_LOCK, "up or down"):
        _down()


def _down() -> None:
    numbers = range(1, MAX_NODES + 1)
    for number in numbers:
        processes.stop([node_name(number)], at_once=True)
    # Nothing is saved, so nothing needs to end politely.
    processes.stop(control_plane.COMPONENTS, at_once=True)
    network.remove()
    for number in numbers:
        if not cgroups.remove(node_name(number)):
            raise ClusterError(f"processes are left in the control group of {node_name(number)}")
        network.unplug(number)
    volumes.unmount_small()
    for directory in (STATE, VOLUMES):
        if directory.exists():
            shutil.rmtree(directory)
    KUBECONFIG.unlink(missing_ok=True)


def start_node(number: int) -> None:
    """Switch a node on after a power cut, and wait until it is ready."""
    api = Api()
    begin = time.time()
    node.start(number)
    node.wait_for_containerd(number)
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node_name(number)}"

    def renewed() -> bool:
        # Until the controllers notice, the Node still says what it said before the cut: wait for a new sign of life.
        lease = api.get(path) or {}
        text = lease.get("spec", {}).get("renewTime", "1970-01-01T00:00:00")[:19]
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S")) >= int(begin)

    wait_until(f"{node_name(number)} renews its lease", renewed, 60)
    _wait_ready(api, number)


def set_fake_gpus(number: int, count: int) -> None:
    """Let a node say that it has GPUs: such Pods are scheduled and started, without any device."""
    Api().patch(
        f"/api/v1/nodes/{node_name(number)}/status",
        {"status": {"capacity": {"nvidia.com/gpu": str(count)}, "allocatable": {"nvidia.com/gpu": str(count)}}},
    )


def status() -> bool:
    """Print what runs and where things lie; return whether the cluster is up."""
    if not STATE.exists():
        print("down")
        return False
    for name in (*control_plane.COMPONENTS, *map(node_name, _node_numbers())):
        pid = processes.pid_of(name)
        address = next((node_address(number) for number in _node_numbers() if node_name(number) == name), "")
        print(f"{name:24} {f'pid {pid}' if pid else 'OFF':12} {address}")
    for label, value in (
        ("kubeconfig", KUBECONFIG),
        ("audit log", AUDIT_LOG),
        ("logs", LOGS),
        ("volumes", VOLUMES),
        ("cache", CLUSTER),
    ):
        print(f"{label:24} {value}")
    for kind, reference in images.current().items():
        print(f"{kind + ' image':24} {reference}")
    return is_up()
