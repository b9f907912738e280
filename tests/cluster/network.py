"""The cluster's network on this machine: one bridge, one cable (veth) to each node, and routes.

The machine itself gets no packet filter rule and forwards nothing; service addresses are programmed by each node's
kube-proxy in that node's own network namespace.
"""

from __future__ import annotations

from pathlib import Path

from .layout import (
    BRIDGE,
    BRIDGE_MAC,
    HOST_ADDRESS,
    NETWORK_PREFIX,
    SERVICE_RANGE,
    node_address,
    node_pod_range,
)
from .shell import output, quietly


def _cable(number: int) -> str:
    return f"{BRIDGE}-{number}"


def exists() -> bool:
    """Return whether the bridge is there."""
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def create() -> None:
    """Make the bridge with its address, and send service addresses through node 1."""
    output(["ip", "link", "add", BRIDGE, "address", BRIDGE_MAC, "type", "bridge"])
    output(["ip", "address", "add", f"{HOST_ADDRESS}/{NETWORK_PREFIX}", "dev", BRIDGE])
    output(["ip", "link", "set", BRIDGE, "up"])
    # Node 1's kube-proxy answers for the machine too. Without this route a service address would leave by the
    # machine's own interface.
    output(["ip", "route", "replace", SERVICE_RANGE, "via", node_address(1), "dev", BRIDGE, "onlink"])


def remove() -> None:
    """Remove the bridge; its routes go with it, and the cables went with their nodes."""
    quietly(["ip", "link", "delete", BRIDGE])


def plug_in(number: int, pid: int) -> None:
    """Give the network namespace of a process its cable, and route the node's Pods to it."""
    unplug(number)
    output(["ip", "link", "add", _cable(number), "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
    output(["ip", "link", "set", _cable(number), "master", BRIDGE, "up"])
    output(["ip", "route", "replace", node_pod_range(number), "via", node_address(number), "dev", BRIDGE, "onlink"])


def unplug(number: int) -> None:
    """Remove a node's cable, if the kernel has not yet done so after the node's end."""
    quietly(["ip", "link", "delete", _cable(number)])


def set_connected(number: int, connected: bool) -> None:
    """Take a node's cable down or up: a network partition."""
    output(["ip", "link", "set", _cable(number), "up" if connected else "down"])
