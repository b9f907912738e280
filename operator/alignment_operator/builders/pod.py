"""What all Pods of a job have in common: identity, security, volumes and placement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from alignment_api import labels
from alignment_api.contract import CONFIG_FILE, PROGRESS_PORT, REPORT_WAIT_VARIABLE, WORKSPACE_MOUNT, JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.runtime import PodTemplate, Resources, Toleration

from ..planning.observed import Settings
from .run_config import build_run_config
from .user_volumes import user_volumes
from .workspace_claim import claim_of

_USER: Final = 1000
_NODE_LOSS_TOLERATION_SECONDS: Final = 30
"""How long a Pod stays bound to a node that stopped answering; Kubernetes' own default is five minutes, which is too
long for the rest of a gang to wait on paid GPUs."""

_NODE_LOSS_TAINTS: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

HTTP_PORT: Final = {"name": "http", "containerPort": PROGRESS_PORT, "protocol": "TCP"}
"""Of a container that tells how far it is."""

_REPORT_WAIT_SECONDS: Final = 15
"""How long a Pod keeps a new report for the operator, which asks every few seconds."""


def report_environment(settings: Settings) -> list[dict[str, Any]]:
    """Variables of a Pod that may write the job's report; none where nobody fetches it."""
    return [{"name": REPORT_WAIT_VARIABLE, "value": str(_REPORT_WAIT_SECONDS)}] if settings.reports else []


@dataclass(frozen=True)
class PodParts:
    """What differs between Pods.

    Attributes:
        labels: labels of the Pod; they win over those of the template.
        arguments: arguments of the trainer image's entry point.
        template: the user's wishes for placement and environment.
        image: trainer image.
        resources: of the container.
        environment: further variables of the container, as in a manifest.
        annotations: annotations of the Pod; they win over those of the template.
        volumes: further volumes, with their mounts (volume, mount).
        container: further fields of the container.
        pod: further fields of the Pod.
        ipc_lock: whether to add the capability IPC_LOCK.
        grace_seconds: time from SIGTERM to SIGKILL.
    """

    labels: dict[str, str]
    arguments: list[str]
    template: PodTemplate
    image: str
    resources: Resources
    environment: list[dict[str, Any]] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    volumes: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    container: dict[str, Any] = field(default_factory=dict)
    pod: dict[str, Any] = field(default_factory=dict)
    ipc_lock: bool = False
    grace_seconds: int = 30


def build_pod_template(
    job: JobReference, spec: AlignmentJobSpec, parts: PodParts, settings: Settings
) -> dict[str, Any]:
    """A Pod template that the restricted Pod security profile admits, but for what the job asks for beyond it.

    That is IPC_LOCK, which is the namespace's to allow, and what `planning.allowances` lists.
    """
    template = parts.template
    volumes = [*_standard_volumes(job, spec), *parts.volumes, *user_volumes(template)]
    container: dict[str, Any] = {
        "name": labels.CONTAINER,
        "image": parts.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": parts.arguments,
        # The root file system is read-only; libraries that keep caches at home find /tmp.
        "env": _environment({"name": "HOME", "value": "/tmp"}, *_user_environment(template), *parts.environment),  # noqa: S108
        "resources": _resources(parts.resources, template),
        "securityContext": _container_security(parts.ipc_lock, template.privileged),
        "terminationMessagePolicy": "File",
        "volumeMounts": [mount for _, mount in volumes],
        **parts.container,
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        # Whatever the service account: training needs no API server, and user code runs beside it.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": parts.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [volume for volume, _ in volumes],
        "tolerations": _tolerations(template.tolerations or []),
        **_placement(template),
        **_identity_and_network(template),
        **parts.pod,
    }
    metadata: dict[str, Any] = {"labels": {**(template.labels or {}), **parts.labels}}
    annotations = {**(template.annotations or {}), **parts.annotations}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": pod}


def _standard_volumes(job: JobReference, spec: AlignmentJobSpec) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    config_map = build_run_config(job, spec)["metadata"]["name"]
    return [
        (
            {"name": "workspace", "persistentVolumeClaim": {"claimName": claim_of(job, spec)}},
            {"name": "workspace", "mountPath": str(WORKSPACE_MOUNT)},
        ),
        (
            {"name": "run-config", "configMap": {"name": config_map}},
            {"name": "run-config", "mountPath": str(CONFIG_FILE), "subPath": CONFIG_FILE.name, "readOnly": True},
        ),
        ({"name": "tmp", "emptyDir": {}}, {"name": "tmp", "mountPath": "/tmp"}),  # noqa: S108
    ]


def _identity_and_network(template: PodTemplate) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if template.service_account_name:
        fields["serviceAccountName"] = template.service_account_name
    if template.host_network:
        # Else names would be looked up as the node does, which knows none of the cluster.
        fields |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    return fields


def _container_security(ipc_lock: bool, privileged: bool) -> dict[str, Any]:
    if privileged:  # holds every capability and may escalate: the API server refuses to have it said otherwise
        return {"privileged": True, "readOnlyRootFilesystem": True}
    capabilities: dict[str, Any] = {"drop": ["ALL"]}
    if ipc_lock:
        capabilities["add"] = ["IPC_LOCK"]
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": capabilities}


def _environment(*variables: dict[str, Any]) -> list[dict[str, Any]]:
    """The variables, each name once: the last one given counts."""
    return list({variable["name"]: variable for variable in variables}.values())


def _user_environment(template: PodTemplate) -> list[dict[str, str]]:
    return [{"name": variable.name, "value": variable.value} for variable in template.env or []]


def _resources(resources: Resources, template: PodTemplate) -> dict[str, Any]:
    limits = {name: str(quantity) for name, quantity in (resources.limits or {}).items()}
    requests = {name: str(quantity) for name, quantity in (resources.requests or {}).items()} or dict(limits)
    built: dict[str, Any] = {}
    if requests:
        built["requests"] = requests
    if limits:
        built["limits"] = limits
    if template.resource_claims:
        built["claims"] = [{"name": claim.name} for claim in template.resource_claims]
    return built


def _placement(template: PodTemplate) -> dict[str, Any]:
    placement: dict[str, Any] = {}
    if template.node_selector:
        placement["nodeSelector"] = dict(template.node_selector)
    if template.affinity:
        placement["affinity"] = template.affinity
    if template.image_pull_secrets:
        placement["imagePullSecrets"] = [{"name": secret.name} for secret in template.image_pull_secrets]
    if template.priority_class_name:
        placement["priorityClassName"] = template.priority_class_name
    if template.scheduler_name:
        placement["schedulerName"] = template.scheduler_name
    if template.resource_claims:
        placement["resourceClaims"] = [
            {"name": claim.name, "resourceClaimTemplateName": claim.resource_claim_template_name}
            for claim in template.resource_claims
        ]
    return placement


def _tolerations(wished: list[Toleration]) -> list[dict[str, Any]]:
    """The user's tolerations, and short ones for lost nodes where the user has no opinion on those."""
    named = {toleration.key for toleration in wished}
    own = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _NODE_LOSS_TOLERATION_SECONDS}
        for key in _NODE_LOSS_TAINTS
        if key not in named and None not in named
    ]
    return [toleration.to_yaml_dict() for toleration in wished] + own
