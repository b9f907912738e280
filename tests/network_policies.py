"""What NetworkPolicies mean: which flows they let through.

The test cluster's network enforces none, so tests ask this for what one that does would let through.
Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """A Pod, or (without a namespace) something outside of the Pod network.

    Attributes:
        ports: the Pod's named ports.
    """

    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)


class Port(NamedTuple):
    """Where a connection goes to."""

    number: int
    protocol: str
    names: Mapping[str, int]


def allows(
    policies: Sequence[Manifest], source: Endpoint, target: Endpoint, number: int, protocol: str = "TCP"
) -> bool:
    """Whether a connection from ``source`` to ``target`` is let out by the one's policies and in by the other's."""
    port = Port(number, protocol, target.ports)
    return _passes(policies, "Egress", source, target, port) and _passes(policies, "Ingress", target, source, port)


def _passes(policies: Sequence[Manifest], way: str, subject: Endpoint, peer: Endpoint, port: Port) -> bool:
    isolating = [policy for policy in policies if way in policy["spec"]["policyTypes"] and _selects(policy, subject)]
    rules = [(policy, rule) for policy in isolating for rule in policy["spec"].get(way.lower(), ())]
    return not isolating or any(
        _has_peer(policy, rule.get("from" if way == "Ingress" else "to"), peer) and _has_port(rule.get("ports"), port)
        for policy, rule in rules
    )


def _selects(policy: Manifest, pod: Endpoint) -> bool:
    return policy["metadata"]["namespace"] == pod.namespace and _matches(policy["spec"]["podSelector"], pod.labels)


def _has_peer(policy: Manifest, peers: Sequence[Manifest] | None, peer: Endpoint) -> bool:
    return not peers or any(_is_peer(policy, wanted, peer) for wanted in peers)


def _is_peer(policy: Manifest, wanted: Manifest, peer: Endpoint) -> bool:
    if "ipBlock" in wanted:
        return ip_address(peer.address) in ip_network(wanted["ipBlock"]["cidr"])
    if peer.namespace is None:
        return False
    if "namespaceSelector" in wanted:
        if not _matches(wanted["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace}):
            return False
    elif peer.namespace != policy["metadata"]["namespace"]:
        return False
    return _matches(wanted.get("podSelector", {}), peer.labels)


def _has_port(ports: Sequence[Manifest] | None, port: Port) -> bool:
    return not ports or any(
        entry.get("protocol", "TCP") == port.protocol
        and port.names.get(str(entry["port"]), entry["port"]) == port.number
        for entry in ports
    )


def _matches(selector: Manifest, labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "only matchLabels are understood"
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()
