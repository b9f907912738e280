"""etcd, the API server, the controllers, the scheduler and DNS, as processes of this machine."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

from . import certificates as pki
from . import processes
from .api import Api
from .layout import (
    API_PORT,
    AUDIT_LOG,
    CLUSTER_DOMAIN,
    ETCD_PEER_URL,
    ETCD_URL,
    HOST_ADDRESS,
    SERVICE_RANGE,
    STATE,
)
from .shell import ClusterError, wait_until
from .tools import tool

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns")
IDENTITIES = (
    pki.ADMIN,
    pki.API_SERVER,
    pki.API_SERVER_TO_KUBELET,
    pki.FRONT_PROXY,
    pki.CONTROLLER_MANAGER,
    pki.SCHEDULER,
    pki.PROXY,
    pki.COREDNS,
)

OPERATOR = "system:serviceaccount:alignment-system:alignment-operator"
"""Whom the API server takes the operator for, as `install` installs it."""

# Who wrote what: tests read it to prove that a component writes only what it may. Reads and leases would only drown it.
# What came of Jobs and Pods is recorded whole: from that, tests tell which gangs lived when.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "omitManagedFields": True,
    "rules": [
        # Of the operator every request: a right that it never uses is one too many.
        {"level": "Metadata", "users": [OPERATOR], "verbs": ["get", "list", "watch"]},
        {"level": "Metadata", "users": [OPERATOR], "resources": [{"group": "coordination.k8s.io"}]},
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "None", "resources": [{"group": "coordination.k8s.io"}]},
        {
            "level": "RequestResponse",
            "verbs": ["create", "patch"],
            "resources": [{"group": "batch", "resources": ["jobs"]}],
        },
        {
            "level": "RequestResponse",
            "verbs": ["create", "delete"],
            "resources": [{"group": "", "resources": ["pods"]}],
        },
        {"level": "RequestResponse", "verbs": ["patch"], "resources": [{"group": "", "resources": ["pods/status"]}]},
        {"level": "Metadata"},
    ],
}


def _etcd() -> list[str | Path]:
    return [
        "etcd",
        "--name=test",
        f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        f"--listen-peer-urls={ETCD_PEER_URL}",
        f"--initial-advertise-peer-urls={ETCD_PEER_URL}",
        f"--initial-cluster=test={ETCD_PEER_URL}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server() -> list[str | Path]:
    policy = STATE / "audit-policy.json"
    policy.write_text(json.dumps(_AUDIT_POLICY))
    return [
        tool("kube-apiserver"),
        f"--etcd-servers={ETCD_URL}",
        f"--bind-address={HOST_ADDRESS}",
        f"--advertise-address={HOST_ADDRESS}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--tls-cert-file={pki.API_SERVER.certificate}",
        f"--tls-private-key-file={pki.API_SERVER.key}",
        f"--client-ca-file={pki.AUTHORITY}",
        f"--kubelet-client-certificate={pki.API_SERVER_TO_KUBELET.certificate}",
        f"--kubelet-client-key={pki.API_SERVER_TO_KUBELET.key}",
        # Otherwise `kubectl logs` looks the node's name up in DNS.
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.SERVICE_ACCOUNT_KEY}",
        f"--service-account-signing-key-file={pki.SERVICE_ACCOUNT_KEY}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        # Aggregated APIs and webhooks are called at their Pods' addresses, so this machine needs no kube-proxy.
        "--enable-aggregator-routing=true",
        f"--requestheader-client-ca-file={pki.AUTHORITY}",
        f"--requestheader-allowed-names={pki.FRONT_PROXY.user}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki.FRONT_PROXY.certificate}",
        f"--proxy-client-key-file={pki.FRONT_PROXY.key}",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={AUDIT_LOG}",
        # Debian's etcd 3.4 cannot report a watch's progress, and a streamed list waits for that report.
        "--feature-gates=WatchList=false",
        "--v=1",
    ]


def _controller_manager() -> list[str | Path]:
    return [
        tool("kube-controller-manager"),
        f"--kubeconfig={pki.kubeconfig(pki.CONTROLLER_MANAGER)}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--root-ca-file={pki.AUTHORITY}",
        f"--service-account-private-key-file={pki.SERVICE_ACCOUNT_KEY}",
        f"--cluster-signing-cert-file={pki.AUTHORITY}",
        f"--cluster-signing-key-file={pki.AUTHORITY_KEY}",
        # With the default rate it takes 5 s until the default ServiceAccount exists, and no Pod can exist before it.
        "--kube-api-qps=2000",
        "--kube-api-burst=4000",
        # A dead node is noticed in seconds, not in a minute.
        "--node-monitor-grace-period=12s",
        "--node-monitor-period=2s",
    ]


def _scheduler() -> list[str | Path]:
    return [
        tool("kube-scheduler"),
        f"--kubeconfig={pki.kubeconfig(pki.SCHEDULER)}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _coredns() -> list[str | Path]:
    corefile = STATE / "Corefile"
    # Only cluster names are answered; any other is refused at once, so that a Pod that asks for the internet fails
    # fast. There is no cache, so that a new Pod's name resolves at the next question.
    corefile.write_text(f"""{CLUSTER_DOMAIN}:53 in-addr.arpa:53 {{
    bind {HOST_ADDRESS}
    errors
    ready {HOST_ADDRESS}:8181
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {pki.kubeconfig(pki.COREDNS)} test
        pods insecure
        ttl 1
    }}
}}
""")
    return [tool("coredns"), "-conf", corefile]


_COMMANDS = {
    "etcd": _etcd,
    "kube-apiserver": _api_server,
    "kube-controller-manager": _controller_manager,
    "kube-scheduler": _scheduler,
    "coredns": _coredns,
}


def start(component: str) -> None:
    """Start one component."""
    processes.start(component, _COMMANDS[component]())


def restart(component: str, away: float = 0.0) -> None:
    """End a component and start it again with the same command line, as its supervisor would.

    Args:
        component: its name.
        away: seconds until it is started again.
    """
    if component not in COMPONENTS:
        raise ClusterError(f"no component {component!r}: choose from {', '.join(COMPONENTS)}")
    command = processes.command_of(component)
    processes.stop([component])
    time.sleep(away)
    processes.start(component, command)
    if component in ("etcd", "kube-apiserver"):
        wait_ready()


def wait_ready() -> None:
    """Wait for the API server; if it dies on the way, show why."""
    api = Api()

    def ready() -> bool:
        for component in ("etcd", "kube-apiserver"):
            if not processes.pid_of(component):
                raise ClusterError(f"{component} ended:\n{processes.failure(component)}")
        return api.ready()

    wait_until("the API server is ready", ready, timeout=60)


def dns_is_ready() -> bool:
    """Return whether CoreDNS has read the cluster's Services and answers."""
    connection = http.client.HTTPConnection(HOST_ADDRESS, 8181, timeout=2)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
