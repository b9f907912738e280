"""Whether this Pod's machine can do what the stage asks; only the gang knows its device. Pure."""

from __future__ import annotations

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Runtime, Stage

from ..device import Device
from ..exceptions import ConfigurationError, DeviceError


def check(stage: Stage, runtime: Runtime, machine: Device) -> None:
    """Refuse what this machine cannot do.

    Args:
        stage: the stage.
        runtime: the gang that runs it.
        machine: what this Pod trains on.

    Raises:
        DeviceError: GPUs were asked for, and the driver shows none.
        ConfigurationError: there are more processes than GPUs, or 4-bit weights under DeepSpeed on a CPU.
    """
    limits = (runtime.resources.limits or {}) | (runtime.resources.requests or {})
    wants_gpu = any(name.endswith("/gpu") for name in limits)
    if machine.is_cpu and wants_gpu:
        raise DeviceError("the Pod asked for GPUs, but the NVIDIA driver on this node shows none")
    if not machine.is_cpu and machine.count < runtime.processes_per_node:
        raise ConfigurationError(
            f"runtime.processesPerNode is {runtime.processes_per_node}, but the Pod has {machine.count} GPUs: "
            "ask for as many GPUs as processes in runtime.resources.limits"
        )
    quantized = stage.adapter is not None and stage.adapter.quantization is not None
    if quantized and machine.is_cpu and runtime.deepspeed.zero_stage > 0:
        message = (
            f"4-bit base weights with zeroStage {runtime.deepspeed.zero_stage} need GPUs, and this node has none: "
            "request GPUs in runtime.resources, or set zeroStage to 0, or remove adapter.quantization"
        )
        field = f"spec.stages[{stage.name}].adapter.quantization"
        raise ConfigurationError("quantization does not fit the device", [Problem(field=field, message=message)])
