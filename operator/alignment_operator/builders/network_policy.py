"""The NetworkPolicy of a job's gangs: whom they talk to, and nobody else.

For networks that enforce such policies; Pods on the node's own network (`podTemplate.hostNetwork`) and interfaces
beside the Pod network are out of their reach. Prepare and the promotion are left alone: they download from anywhere and
upload to anywhere.
"""

from __future__ import annotations

import re
from typing import Any, Final

from alignment_api import labels
from alignment_api.contract import PROGRESS_PORT, JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec

from ..planning.observed import GangTraffic
from .metadata import job_labels, network_policy_name, object_metadata

_DNS: Final = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
_PORT: Final = re.compile(r":([0-9]{1,5})$")
_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""Kubernetes puts it on every namespace."""


def build_network_policy(job: JobReference, spec: AlignmentJobSpec, traffic: GangTraffic) -> dict[str, Any]:
    """One policy for the gangs of all stages and attempts.

    In: the job's own gangs at all ports (rendezvous and collectives choose theirs), the operator at the progress port.
    Out: the job's own gangs, DNS, and the ports of services that compute rewards or judge. A service is named by a host
    name, which a policy cannot, so that any address may be asked at those ports. The API server is not among them.
    """
    gangs = {"matchLabels": {labels.JOB_UID: job.uid, labels.ROLE: labels.ROLE_TRAIN}}
    among_themselves = [{"podSelector": gangs}]
    operator = {
        "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: traffic.operator_namespace}},
        "podSelector": {"matchLabels": dict(traffic.operator_labels)},
    }
    egress: list[dict[str, Any]] = [{"to": among_themselves}, {"ports": _DNS}]
    services = [{"port": port, "protocol": "TCP"} for port in _service_ports(spec)]
    if services:
        egress.append({"ports": services})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": object_metadata(job, network_policy_name(job), job_labels(job)),
        "spec": {
            "podSelector": gangs,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": among_themselves},
                {"from": [operator, *traffic.scrapers], "ports": [{"port": PROGRESS_PORT, "protocol": "TCP"}]},
            ],
            "egress": egress,
        },
    }


def _service_ports(spec: AlignmentJobSpec) -> list[int]:
    """Ports of the services that rewards and judges of any stage ask."""
    terms = [term for stage in spec.stages if stage.online is not None for term in stage.online.rewards]
    judges = [judge for stage in spec.stages if stage.evaluate is not None for judge in stage.evaluate.judges]
    urls = [term.http.url for term in terms if term.http is not None]
    urls += [judge.llm.url for judge in judges if judge.llm is not None]
    return sorted({_port(url) for url in urls})


def _port(url: str) -> int:
    scheme, authority = url.split("://", 1)
    port = _PORT.search(authority.split("/", 1)[0])
    if port is not None and 0 < int(port[1]) < 65536:
        return int(port[1])
    return 443 if scheme == "https" else 80
