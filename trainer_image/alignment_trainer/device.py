"""Which device this machine trains on, found without importing torch (the supervisor must start at once)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import StrEnum


class Accelerator(StrEnum):
    """Kinds of devices, by torch's names."""

    CUDA = "cuda"
    CPU = "cpu"


@dataclass(frozen=True)
class Device:
    """What the processes of this machine train on.

    Attributes:
        accelerator: kind of device.
        count: devices visible; 1 for a CPU, which all processes share.
    """

    accelerator: Accelerator
    count: int

    @property
    def is_cpu(self) -> bool:
        return self.accelerator is Accelerator.CPU


def detect() -> Device:
    """The GPUs that the CUDA driver shows (it heeds CUDA_VISIBLE_DEVICES), else the CPU."""
    count = _cuda_device_count()
    return Device(Accelerator.CUDA, count) if count else Device(Accelerator.CPU, 1)


def _cuda_device_count() -> int:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
