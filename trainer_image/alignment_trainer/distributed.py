"""The processes of a gang, and this one among them."""

from __future__ import annotations

from datetime import timedelta

from accelerate import PartialState

from alignment_api.v1alpha1 import Runtime

from .device import Device


def join_gang(device: Device, runtime: Runtime) -> PartialState:
    """Meet the other processes: NCCL on GPUs, gloo on CPUs.

    accelerate keeps the state for the whole process; what is built on it later finds this process group. Left to the
    TRL config, gloo would start with torch's own timeout.

    Returns:
        This process's place in the gang.
    """
    return PartialState(cpu=device.is_cpu, timeout=timedelta(seconds=runtime.communication.timeout_seconds))
