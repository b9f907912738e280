"""The processes of a gang, and this one among them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from alignment_api.v1alpha1 import Runtime

from .device import Device

Shared = TypeVar("Shared")


def join_gang(device: Device, runtime: Runtime) -> PartialState:
    """Meet the other processes: NCCL on GPUs, gloo on CPUs.

    accelerate keeps the state for the whole process; what is built on it later finds this process group. Left to the
    TRL config, gloo would start with torch's own timeout.

    Returns:
        This process's place in the gang.
    """
    return PartialState(cpu=device.is_cpu, timeout=timedelta(seconds=runtime.communication.timeout_seconds))


def greatest(value: int, device: Any) -> int:
    """The largest ``value`` of all processes, on each of them; every process must ask.

    Args:
        value: this process's.
        device: torch device that the processes communicate from.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return int(value)
    shared = torch.tensor(int(value), device=device)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return int(shared.item())


def agree(choice: Shared) -> Shared:
    """Rank 0's choice, on every process; every process must ask."""
    shared = [choice]
    broadcast_object_list(shared, from_process=0)
    return shared[0]
