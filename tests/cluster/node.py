"""Nodes: sets of namespaces on this machine, each with its own containerd, kubelet and kube-proxy."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from . import certificates as pki
from . import cgroups, network, processes
from .image_load import NodeImages
from .layout import (
    CACHE,
    CLUSTER_DOMAIN,
    HERE,
    HOST_ADDRESS,
    LOGS,
    MAX_NODES,
    NETWORK_PREFIX,
    POD_RANGE,
    SERVICE_RANGE,
    STATE,
    node_address,
    node_containerd_root,
    node_name,
    node_pod_range,
    node_state,
)
from .shell import ClusterError, wait_until
from .tools import tool

API_READY = STATE / "api-ready"  # the kubelets start when this file appears
PROGRAMS = ("containerd", "kubelet", "kube-proxy")
_SOCKET = "/run/containerd/containerd.sock"


def registered_file(number: int) -> Path:
    """Return the file whose appearance starts kube-proxy, which waits half a minute if its Node does not exist yet."""
    return node_state(number) / "registered"


def _containerd_configuration(number: int, pause_image: str) -> str:
    return f"""version = 2
root = "{node_containerd_root(number)}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Without CAP_SYS_RESOURCE, which such machines often lack, every sandbox dies at setting its score otherwise.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    # Images arrive as links, without packed layers (see image_load).
    discard_unpacked_layers = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{node_state(number) / "cni"}"
"""


def _cni_configuration(number: int) -> dict[str, Any]:
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            # No masquerading: every node and the machine have a route to every Pod range, so Pods keep their addresses.
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": node_pod_range(number)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet_configuration(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.AUTHORITY)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{_SOCKET}",
        "clusterDNS": [HOST_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.name(node_name(number))}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "volumePluginDir": str(node_state(number) / "volume-plugins"),
        "maxPods": 200,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        # With the default minute, a changed Secret or ConfigMap arrives 90 s late.
        "syncFrequency": "3s",
        "nodeStatusUpdateFrequency": "4s",
        "nodeLeaseDurationSeconds": 8,
    }


def _daemons(number: int) -> list[dict[str, Any]]:
    directory, name = node_state(number), node_name(number)

    def daemon(program: str, command: list[str | Path], after: Path | None = None) -> dict[str, Any]:
        return {
            "command": [str(part) for part in command],
            "log": str(LOGS / f"{name}-{program}.log"),
            **({"after": str(after)} if after else {}),
        }

    return [
        daemon("containerd", ["containerd", "--config", directory / "containerd.toml"]),
        daemon(
            "kubelet",
            [
                tool("kubelet"),
                f"--config={directory / 'kubelet.json'}",
                f"--kubeconfig={directory / 'kubelet.kubeconfig'}",
                f"--hostname-override={name}",
                f"--node-ip={node_address(number)}",
            ],
            API_READY,
        ),
        daemon(
            "kube-proxy",
            [
                tool("kube-proxy"),
                f"--kubeconfig={directory / 'kube-proxy.kubeconfig'}",
                f"--hostname-override={name}",
                "--proxy-mode=iptables",
                f"--cluster-cidr={POD_RANGE}",
                # Writing this kernel setting is refused inside a namespace.
                "--conntrack-max-per-core=0",
                "--conntrack-min=0",
            ],
            registered_file(number),
        ),
    ]


def create(number: int, pause_image: str) -> None:
    """Write a node's configuration; the node is then off."""
    directory = node_state(number)
    for path in (directory / "cni", directory / "lib" / "kubelet", directory / "log", node_containerd_root(number)):
        path.mkdir(parents=True, exist_ok=True)
    (directory / "containerd.toml").write_text(_containerd_configuration(number, pause_image))
    (directory / "cni" / "10-pods.conflist").write_text(json.dumps(_cni_configuration(number)))
    (directory / "kubelet.json").write_text(json.dumps(_kubelet_configuration(number)))
    pki.kubeconfig(pki.kubelet(number), directory / "kubelet.kubeconfig")
    pki.kubeconfig(pki.PROXY, directory / "kube-proxy.kubeconfig")
    binds = {"/var/lib": str(directory / "lib"), "/var/log": str(directory / "log")}
    hidden = [place for place in (*binds, "/run") if CACHE.is_relative_to(place)]
    if hidden:
        raise ClusterError(f"the cache must not lie below {hidden[0]}, which each node replaces: set XDG_CACHE_HOME")
    spec = {
        "name": node_name(number),
        "address": f"{node_address(number)}/{NETWORK_PREFIX}",
        "binds": binds,
        # A service address that kube-proxy has not programmed ends at the bridge instead of wandering.
        "routes": {SERVICE_RANGE: None}
        | {node_pod_range(other): node_address(other) for other in range(1, MAX_NODES + 1) if other != number},
        "cgroups": [str(path) for path in cgroups.create(node_name(number))],
        "daemons": _daemons(number),
    }
    (directory / "node.json").write_text(json.dumps(spec, indent=1))


def start(number: int) -> None:
    """Switch a node on."""
    if not (node_state(number) / "node.json").exists():
        raise ClusterError(f"there is no node {number}")
    pid = processes.start(
        node_name(number),
        [
            "unshare",
            "--mount",
            "--pid",
            "--net",
            "--uts",
            "--fork",
            "--kill-child",
            "--mount-proc",
            sys.executable,
            HERE / "node_init.py",
            node_state(number) / "node.json",
        ],
    )
    own = os.readlink("/proc/self/ns/net")
    wait_until("the node has namespaces", lambda: os.readlink(f"/proc/{pid}/ns/net") != own, 5, 0.005)
    network.plug_in(number, pid)


def kill(number: int) -> None:
    """Cut a node's power: every process, mount and link of it ends at once, and nobody is told."""
    processes.stop([node_name(number)], at_once=True)
    if not cgroups.remove(node_name(number)):
        raise ClusterError(f"{node_name(number)}: processes are left")
    network.unplug(number)
    if (node_state(number) / "node.json").exists():
        cgroups.create(node_name(number))


def restart_program(number: int, program: str) -> None:
    """Kill one of a node's daemons; the node starts it again a second later, and containers go on meanwhile."""
    if program not in PROGRAMS:
        raise ClusterError(f"no program {program!r} on nodes: choose from {', '.join(PROGRAMS)}")
    node_pid = processes.pid_of(node_name(number))
    if not node_pid:
        raise ClusterError(f"{node_name(number)} is off")
    inside = os.readlink(f"/proc/{node_pid}/ns/pid_for_children")
    found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _runs(pid, program, inside)]
    if not found:
        raise ClusterError(f"{program} does not run on {node_name(number)}")
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def _runs(pid: int, program: str, namespace: str) -> bool:
    """Return whether a process is a node's own instance of a program; those in containers are in other namespaces."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return Path(command[0].decode()).name == program and os.readlink(f"/proc/{pid}/ns/pid") == namespace
    except OSError:
        return False


def enter(number: int) -> list[str]:
    """Return the command prefix that runs a program inside a node."""
    pid = processes.pid_of(node_name(number))
    if not pid:
        raise ClusterError(f"{node_name(number)} is off")
    return ["nsenter", "--target", str(pid), "--mount", "--net", "--uts", "--"]


def images(number: int) -> NodeImages:
    """Return a node's images."""
    return NodeImages(enter(number))


def wait_for_containerd(number: int) -> None:
    """Wait until a node's containerd answers."""
    pid = processes.pid_of(node_name(number))
    # The socket's name appears before it is listened to, so ask.
    wait_until(
        f"containerd of {node_name(number)}",
        lambda: Path(f"/proc/{pid}/root{_SOCKET}").exists() and _answers(number),
        30,
    )


def _answers(number: int) -> bool:
    try:
        images(number).names()
    except ClusterError:
        return False
    return True
