"""Gang sizes: batch arithmetic, GPUs per process, DeepSpeed combinations, quantities."""

from __future__ import annotations

from collections.abc import Iterator

from ...contract.summary import Problem
from ..alignment_job import TRAINING_METHODS, AlignmentJobSpec, Stage
from ..base import parse_quantity
from ..runtime import AccessMode, Resources, Runtime
from ..training import Training
from . import online

_GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Numbers of the workspace, the runtimes and the stages' batches that do not fit together."""
    yield from _workspace(spec)
    yield from _resources("spec.prepare.resources", spec.prepare.resources)
    yield from _runtime("spec.runtime", spec.runtime)
    for index, stage in enumerate(spec.stages):
        field = f"spec.stages[{index}]"
        if stage.runtime is not None:
            yield from _runtime(f"{field}.runtime", stage.runtime)
        if stage.method in TRAINING_METHODS and online.generations(stage) is None:
            yield from _batch(field, stage, spec.runtime_of(stage))
        if stage.method not in TRAINING_METHODS and stage.training != Training():
            # The API server has filled in the defaults of one that was not given.
            yield Problem(field=f"{field}.training", message="an evaluate stage trains nothing: remove this field")


def _workspace(spec: AlignmentJobSpec) -> Iterator[Problem]:
    template = spec.workspace.volume_claim_template
    if template is None:
        return
    field = "spec.workspace.volumeClaimTemplate"
    yield from _quantity(f"{field}.storage", template.storage)
    largest = max(spec.runtime_of(stage).nodes for stage in spec.stages)
    if largest > 1 and AccessMode.READ_WRITE_MANY not in template.access_modes:
        yield Problem(
            field=f"{field}.accessModes",
            message=f"a gang of {largest} nodes shares the workspace: add ReadWriteMany, or set nodes to 1",
        )


def _runtime(field: str, runtime: Runtime) -> Iterator[Problem]:
    yield from _resources(f"{field}.resources", runtime.resources)
    if runtime.shared_memory is not None:
        yield from _quantity(f"{field}.sharedMemory", runtime.shared_memory)
    for gpu in _GPU_RESOURCES:
        count = (runtime.resources.limits or {}).get(gpu)
        if count is not None and str(count) != str(runtime.processes_per_node):
            yield Problem(
                field=f"{field}.processesPerNode",
                message=f"{runtime.processes_per_node} processes share resources.limits[{gpu}]={count}: one process "
                "uses one GPU, so make the two equal",
            )
    offload, stage = runtime.deepspeed.offload, runtime.deepspeed.zero_stage
    if offload.parameters != "none" and stage != 3:
        yield Problem(
            field=f"{field}.deepspeed.offload.parameters",
            message=f"parameters are partitioned only by zeroStage 3, not {stage}: set zeroStage to 3, or this to none",
        )
    if offload.optimizer != "none" and stage == 0:
        yield Problem(
            field=f"{field}.deepspeed.offload.optimizer",
            message="zeroStage 0 runs without DeepSpeed and offloads nothing: set zeroStage to 1, 2 or 3, or this to "
            "none",
        )


def _batch(field: str, stage: Stage, runtime: Runtime) -> Iterator[Problem]:
    training = stage.training
    per_step = training.micro_batch_size * runtime.nodes * runtime.processes_per_node
    if training.global_batch_size % per_step == 0:
        return
    below = training.global_batch_size // per_step * per_step
    nearest = " or ".join(str(size) for size in (below, below + per_step) if size > 0)
    yield Problem(
        field=f"{field}.training.globalBatchSize",
        message=f"{training.global_batch_size} is not a multiple of microBatchSize {training.micro_batch_size} x nodes "
        f"{runtime.nodes} x processesPerNode {runtime.processes_per_node} = {per_step}: use {nearest}, or change one "
        "of the factors",
    )


def _resources(field: str, resources: Resources) -> Iterator[Problem]:
    requests, limits = resources.requests or {}, resources.limits or {}
    for kind, amounts in (("requests", requests), ("limits", limits)):
        for name, quantity in amounts.items():
            yield from _quantity(f"{field}.{kind}[{name}]", quantity)
    for name in requests.keys() & limits.keys():
        try:
            excess = parse_quantity(requests[name]) > parse_quantity(limits[name])
        except ValueError:
            continue
        if excess:
            yield Problem(
                field=f"{field}.requests[{name}]",
                message=f"{requests[name]} is more than the limit {limits[name]}: lower it, or raise the limit",
            )


def _quantity(field: str, quantity: int | str) -> Iterator[Problem]:
    try:
        value = parse_quantity(quantity)
    except ValueError as error:
        yield Problem(field=field, message=str(error))
        return
    if value <= 0:
        yield Problem(field=field, message=f"{quantity} is not a positive amount")
