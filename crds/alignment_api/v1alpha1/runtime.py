"""What a gang of Pods looks like: size, resources, DeepSpeed, Pod template; and the workspace volume they share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from .base import INT32_MAX, ApiModel, CelRule, DnsLabel, ObjectName, Quantity, ShortText


class AccessMode(StrEnum):
    """How a volume may be mounted."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class PersistentVolumeClaimReference(ApiModel):
    """An existing PersistentVolumeClaim."""

    claim_name: ObjectName = Field(description="Name of a PersistentVolumeClaim in the job's namespace.")


class VolumeClaimTemplate(ApiModel):
    """A PersistentVolumeClaim that the operator creates for the job, named `<job>-workspace`."""

    storage: Quantity = Field(description="Requested size, such as `200Gi`.")
    storage_class_name: ObjectName | None = Field(
        default=None, description="StorageClass. Unset: the cluster's default class."
    )
    access_modes: Annotated[list[AccessMode], Field(min_length=1, max_length=2)] = Field(
        default_factory=lambda: [AccessMode.READ_WRITE_MANY],
        description="Access modes. Gangs of several nodes need ReadWriteMany.",
    )
    when_deleted: Literal["Retain", "Delete"] = Field(
        default="Retain", description="Whether the claim, with every model in it, outlives the AlignmentJob."
    )


class Workspace(ApiModel):
    """The volume that holds checkpoints, prepared data, models and reports."""

    one_of: ClassVar[tuple[str, ...]] = ("persistent_volume_claim", "volume_claim_template")

    persistent_volume_claim: PersistentVolumeClaimReference | None = Field(
        default=None, description="Use an existing claim."
    )
    volume_claim_template: VolumeClaimTemplate | None = Field(default=None, description="Create a claim for this job.")


ResourceList = Annotated[dict[Annotated[str, Field(max_length=253)], Quantity], Field(max_length=16)]


class Resources(ApiModel):
    """Compute resources of one Pod."""

    requests: ResourceList | None = Field(default=None, description="Guaranteed amounts. Unset: the limits.")
    limits: ResourceList | None = Field(default=None, description="Upper bounds, such as `nvidia.com/gpu: 8`.")


class Offload(ApiModel):
    """Where ZeRO keeps state that does not fit on the device (ZeRO-Offload, arXiv:2101.06840)."""

    optimizer: Literal["none", "cpu"] = Field(default="none", description="Where optimizer states live.")
    parameters: Literal["none", "cpu"] = Field(
        default="none", description="Where parameters live; `cpu` needs zeroStage 3."
    )


class DeepSpeed(ApiModel):
    """DeepSpeed ZeRO (Rajbhandari et al., 2020, arXiv:1910.02054)."""

    zero_stage: Annotated[int, Field(ge=0, le=3)] = Field(
        default=3,
        description="What is partitioned over the processes: 1 optimizer states, 2 also gradients, 3 also parameters. "
        "0 is plain data parallelism without DeepSpeed.",
    )
    offload: Offload = Field(default_factory=Offload, description="Offloading to host memory.")


class Communication(ApiModel):
    """How the processes of a gang reach each other."""

    interface: Annotated[str, Field(max_length=64, pattern=r"^[=^]?[A-Za-z0-9_.,-]+$")] | None = Field(
        default=None, description="Network interface for rendezvous and collectives. Unset: the Pod's default."
    )
    timeout_seconds: Annotated[int, Field(ge=30, le=86400)] = Field(
        default=1800, description="How long a collective may wait for a peer before the process gives up."
    )
    ipc_lock: bool = Field(
        default=False,
        description="Add the IPC_LOCK capability, which RDMA drivers may need to pin memory. The namespace must allow "
        "it: the restricted Pod security profile does not.",
    )


class EnvironmentVariable(ApiModel):
    """An environment variable of the trainer container."""

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        description="Name."
    )
    value: Annotated[str, Field(max_length=4096)] = Field(default="", description="Value.")

    list_map_key: ClassVar[str | None] = "name"


class Toleration(ApiModel):
    """A taint that the Pods tolerate."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.operator == 'Equal' || !has(self.value)",
            "value is only for operator Equal: remove it or set operator to Equal",
        ),
        CelRule(
            "self.operator == 'Exists' || has(self.key)",
            "key is missing: set it, or set operator to Exists to tolerate every taint",
        ),
        CelRule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds is only for effect NoExecute: remove it or set effect to NoExecute",
        ),
    )

    key: ShortText | None = Field(default=None, description="Taint key. Unset with operator Exists: every taint.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How the value is compared.")
    value: ShortText | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect. Unset: all effects."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=INT32_MAX)] | None = Field(
        default=None, description="How long a NoExecute taint is tolerated."
    )


class LocalObjectReference(ApiModel):
    """The name of an object in the job's namespace."""

    name: ObjectName = Field(description="Name of the object.")

    list_map_key: ClassVar[str | None] = "name"


class ResourceClaim(ApiModel):
    """A dynamic resource allocation (DRA) claim of each Pod."""

    name: DnsLabel = Field(description="Name of the claim within the Pod.")
    resource_claim_template_name: ObjectName = Field(description="ResourceClaimTemplate from which each Pod gets one.")

    list_map_key: ClassVar[str | None] = "name"


AbsolutePath = Annotated[
    str, Field(min_length=2, max_length=1024, pattern=r"^(/[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*)+$")
]
"""An absolute path without ``.`` and ``..``, so that a path below a folder cannot lead out of it."""


class HostPathVolume(ApiModel):
    """A file or folder of the node."""

    path: AbsolutePath = Field(description="Path on the node.")
    type: Literal["Directory", "File", "Socket", "CharDevice", "BlockDevice"] | None = Field(
        default=None, description="What must be there. Unset: anything."
    )


class ConfigMapVolume(ApiModel):
    """All keys of a ConfigMap as files."""

    name: ObjectName = Field(description="Name of a ConfigMap in the job's namespace.")


class SecretVolume(ApiModel):
    """All keys of a Secret as files."""

    secret_name: ObjectName = Field(description="Name of a Secret in the job's namespace.")


class EmptyDirVolume(ApiModel):
    """Room on the node, for as long as the Pod lives."""

    size_limit: Quantity | None = Field(default=None, description="Largest size. Unset: the node's.")


class PodVolume(ApiModel):
    """A further volume of the Pods and where it is mounted."""

    one_of: ClassVar[tuple[str, ...]] = ("host_path", "persistent_volume_claim", "config_map", "secret", "empty_dir")
    list_map_key: ClassVar[str | None] = "name"

    name: Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Name of the volume, unique within the list."
    )
    mount_path: AbsolutePath = Field(description="Where the container finds it; nowhere the operator mounts something.")
    read_only: bool = Field(default=False, description="Whether it cannot be written to.")
    host_path: HostPathVolume | None = Field(
        default=None,
        description="A file or folder of the node. Only below paths that the operator's administrator allows (chart "
        "value `allowances.hostPaths`).",
    )
    persistent_volume_claim: PersistentVolumeClaimReference | None = Field(
        default=None, description="A further claim, such as one with datasets."
    )
    config_map: ConfigMapVolume | None = Field(default=None, description="A ConfigMap.")
    secret: SecretVolume | None = Field(default=None, description="A Secret.")
    empty_dir: EmptyDirVolume | None = Field(default=None, description="Room that goes with the Pod.")


LabelKey = Annotated[str, Field(max_length=317)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=32)]
Annotations = Annotated[dict[LabelKey, Annotated[str, Field(max_length=4096)]], Field(max_length=32)]


class PodTemplate(ApiModel):
    """Where and how the Pods run. The security context and command are the operator's."""

    labels: Labels | None = Field(default=None, description="Labels added to the Pods.")
    annotations: Annotations | None = Field(default=None, description="Annotations added to the Pods.")
    node_selector: Labels | None = Field(default=None, description="Labels a node must have.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(
        default=None, description="Taints that are tolerated."
    )
    affinity: dict[str, Any] | None = Field(default=None, description="Pod affinity, as in a Pod (core/v1 Affinity).")
    env: Annotated[list[EnvironmentVariable], Field(max_length=64)] | None = Field(
        default=None, description="Environment variables of the container, such as NCCL settings."
    )
    image_pull_secrets: Annotated[list[LocalObjectReference], Field(max_length=16)] | None = Field(
        default=None, description="Secrets for pulling the trainer image."
    )
    resource_claims: Annotated[list[ResourceClaim], Field(max_length=16)] | None = Field(
        default=None, description="Dynamic resource allocation claims."
    )
    priority_class_name: ObjectName | None = Field(default=None, description="PriorityClass of the Pods.")
    scheduler_name: ObjectName | None = Field(default=None, description="Scheduler. Unset: the cluster's default.")
    volumes: Annotated[list[PodVolume], Field(max_length=16)] | None = Field(
        default=None, description="Further volumes."
    )
    service_account_name: ObjectName | None = Field(
        default=None,
        description="ServiceAccount of the Pods, in the job's namespace; its token is never mounted. Only one that the "
        "operator's administrator allows (chart value `allowances.serviceAccounts`). Unset: `default`.",
    )
    host_network: bool = Field(
        default=False,
        description="Use the node's network, as RDMA may need; a node then runs one Pod of gangs at a time. Only "
        "where the operator's administrator allows it (chart value `allowances.hostNetwork`).",
    )
    privileged: bool = Field(
        default=False,
        description="Run the container privileged, for devices without a device plugin. Only where the operator's "
        "administrator allows it (chart value `allowances.privileged`).",
    )


class Runtime(ApiModel):
    """The gang of Pods that runs a stage."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule("!has(self.minNodes) || self.minNodes <= self.nodes", "minNodes must not be more than nodes: lower it"),
    )

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None, description="Trainer image. Unset: the one the operator was installed with."
    )
    nodes: Annotated[int, Field(ge=1, le=1024)] = Field(default=1, description="Pods of the gang, one a node.")
    min_nodes: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="Elastic: when not all nodes can be had within `scheduling.placementDeadlineSeconds`, go on from "
        "the checkpoint with as many as there are, but not fewer than this, and grow back at the next restart. "
        "globalBatchSize stays, so only numbers of nodes that divide it are used. Unset: all or none.",
    )
    processes_per_node: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="Training processes in each Pod, one per GPU."
    )
    resources: Resources = Field(default_factory=Resources, description="Compute resources of each Pod.")
    deepspeed: DeepSpeed = Field(default_factory=DeepSpeed, description="DeepSpeed ZeRO settings.")
    shared_memory: Quantity | None = Field(
        default=None, description="Size of /dev/shm, a memory-backed emptyDir. NCCL and data loaders need it."
    )
    communication: Communication = Field(
        default_factory=Communication, description="How the processes reach each other."
    )
    pod_template: PodTemplate = Field(default_factory=PodTemplate, description="Where and how the Pods run.")


class Prepare(ApiModel):
    """The CPU Pod that checks data and configuration before any gang starts."""

    resources: Resources = Field(default_factory=Resources, description="Compute resources of the Pod.")
    pod_template: PodTemplate = Field(default_factory=PodTemplate, description="Where and how the Pod runs.")
