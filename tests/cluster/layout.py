"""Where the test cluster keeps its things, and the addresses it uses.

Nothing lies in the checkout: tools, images and the cluster's state live in one cache directory, so that a clean
checkout of another revision reuses what was built. The directory must be on a plain file system (not overlay), because
the nodes' container file systems are overlays over it.
"""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alignment-operator"
TOOLS = CACHE / "tools"
IMAGES = CACHE / "images"
CLUSTER = CACHE / "cluster"

STATE = CLUSTER / "state"  # exists only while the cluster is up
VOLUMES = CLUSTER / "volumes"  # the same directory on every node; removed by `down`
LOGS = CLUSTER / "logs"  # kept after `down`, replaced by the next `up`
KUBECONFIG = CLUSTER / "kubeconfig.yaml"
AUDIT_LOG = LOGS / "audit.jsonl"

BRIDGE = "alignment0"
# A fixed address of the bridge itself: otherwise it takes one of its ports' and changes when that node dies, and every
# other node stalls on stale neighbour entries.
BRIDGE_MAC = "02:a1:16:00:00:01"
HOST_ADDRESS = "10.123.0.1"
NETWORK_PREFIX = 24
SERVICE_RANGE = "10.96.0.0/16"
KUBERNETES_SERVICE_ADDRESS = "10.96.0.1"
POD_RANGE = "10.244.0.0/16"
API_PORT = 6443
API_URL = f"https://{HOST_ADDRESS}:{API_PORT}"
ETCD_URL = "http://127.0.0.1:2379"
ETCD_PEER_URL = "http://127.0.0.1:2380"
CLUSTER_DOMAIN = "cluster.local"

MAX_NODES = 2


def node_name(number: int) -> str:
    """Return the Kubernetes name of node `number` (from 1)."""
    return f"node-{number}"


def node_address(number: int) -> str:
    """Return the address of a node on the bridge."""
    return f"10.123.0.{10 + number}"


def node_pod_range(number: int) -> str:
    """Return the range from which a node's Pods take their addresses."""
    return f"10.244.{number}.0/24"


def node_state(number: int) -> Path:
    """Return the directory of one node that lives as long as the cluster."""
    return STATE / node_name(number)


def node_containerd_root(number: int) -> Path:
    """Return a node's containerd root, which outlives the cluster so that images stay unpacked."""
    return CLUSTER / node_name(number) / "containerd"
