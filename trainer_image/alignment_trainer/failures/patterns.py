"""What failures look like in messages and output, as the programs and drivers print them.

The order of the table is what a mixture stands for:

1. A broken device explains everything else: its process fails, its peers lose it, memory and volumes seem to fail.
2. An assertion in a kernel is a wrong index in the trainer; the driver then refuses all work in other words.
3. Memory that ran out ends one process, and its peers lose it.
4. Kernels that died without a reason: mostly the device's fault, unless one of the above was seen.
5. A full volume ends one process, and its peers lose it.
6. A lost peer alone says that the cause is elsewhere.

``TORCH_USE_CUDA_DSA to enable device-side assertions`` is in the text of every CUDA error, and ``external library call
failed or device error`` in that of every NCCL system error: neither stands for anything.
"""

from __future__ import annotations

import re
from typing import Final

from alignment_api.exit_codes import ExitCode

_SOFTWARE_XIDS: Final = r"(?:13|31|43|45)\b"
"""Driver messages that a program's own bug causes as well."""


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


_BROKEN_DEVICE: Final = _any_of(
    rf"Xid \([^)\n]+\): (?!{_SOFTWARE_XIDS})\d+",  # NVRM: Xid (GPU) and SXid (NVSwitch) of the kernel's log
    rf"\bXID (?:error )?(?!{_SOFTWARE_XIDS})\d+",  # DCGM
    r"DCGM_FR_(?:VOLATILE_DBE|NVLINK|FALLEN_OFF|UNCONTAINED|XID)\w*",
    r"(?i:GPU has fallen off the bus|GPU is lost)",
    r"(?i:uncorrectable (?:ECC|NVLink) error)",
    r"NVLink: [Ff]atal error",
    r"hardware stack error",
    r"system not yet initialized",  # CUDA 802: the node's fabric manager is down
    r"[Nn]o (?:CUDA|ROCm)-capable device|No (?:CUDA|HIP) GPUs are available",
    r"CUDA-capable device\(s\) is/are busy or unavailable",
    r"CUDA driver initialization failed|Found no NVIDIA driver",
    r"(?:CUDA|HIP) (?:(?:driver )?error: )?unknown error|(?:Cuda|HIP) failure (?:\d+ )?'unknown error'",
    r"CUDA_ERROR_(?:ECC_UNCORRECTABLE|NVLINK_UNCORRECTABLE|NO_DEVICE|SYSTEM_NOT_READY|HARDWARE_STACK_ERROR|UNKNOWN)",
    r"cudaError(?:ECCUncorrectable|NvlinkUncorrectable|NoDevice|SystemNotReady|HardwareStackError|Unknown)\b",
    r"hipError(?:ECCNotCorrectable|NoDevice)\b",
    r"Unable to determine the device handle for GPU|\|[^|\n]*\bERR!",  # nvidia-smi, and a field of its table
)
_KERNEL_ASSERTION: Final = _any_of(r"device-side assert triggered", r"cudaErrorAssert\b|CUDA_ERROR_ASSERT")
_OUT_OF_MEMORY: Final = _any_of(
    r"(?:CUDA|HIP) out of memory|torch\.(?:cuda\.)?OutOfMemoryError",
    r"(?:CUDA|HIP) (?:driver )?error: out of memory|(?:Cuda|HIP) failure (?:\d+ )?'out of memory'",
    r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation\b|hipErrorOutOfMemory\b",
    r"(?:CUBLAS|HIPBLAS|CUDNN)_STATUS_ALLOC_FAILED",
    r"DefaultCPUAllocator: can't allocate memory|std::bad_alloc|Unable to allocate [\d.]+ [KMGT]iB",
    r"(?<!failed with error )Cannot allocate memory",  # after those words: a limit of what InfiniBand may lock
)
_DEAD_KERNEL: Final = _any_of(
    r"Xid \([^)\n]+\): \d+|\bXID (?:error )?\d+",
    r"an illegal (?:memory access|instruction) was encountered|unspecified launch (?:failure|fault)",
    r"the launch timed out and was terminated",
    r"CUDA_ERROR_(?:ILLEGAL_ADDRESS|ILLEGAL_INSTRUCTION|LAUNCH_FAILED|LAUNCH_TIMEOUT)",
    r"cudaError(?:IllegalAddress|IllegalInstruction|LaunchFailure|LaunchTimeout)\b",
    r"hipError(?:IllegalAddress|LaunchFailure)\b|Memory access fault by GPU node|HSA_STATUS_ERROR_EXCEPTION",
)
_STORAGE: Final = _any_of(r"No space left on device|Read-only file system|Disk quota exceeded|Stale file handle")

COLLECTIVE_TIMEOUT: Final = _any_of(
    r"Watchdog caught collective (?:operation )?timeout",  # NCCL; the process is aborted soon after
    r"Heartbeat monitor timed out",
    r"Timed out waiting \d+ms for (?:send|recv) operation",  # gloo
    r"timed out in monitoredBarrier",
    r"wait timeout after \d+ms|waitForInput: .*timed out after",  # the store through which a gang meets
)
"""A collective in which some process of the gang did not take part in time: it hangs, or is gone."""

_COMMUNICATION: Final = _any_of(
    COLLECTIVE_TIMEOUT.pattern,
    r"Connection (?:closed by|reset by|refused|timed out)|Broken pipe|No route to host|Name or service not known",
    r"gloo.*(?:timed out|connect failure|failed|[Cc]onnect timeout|Socket Timeout|pair closure)",
    r"NCCL (?:error|watchdog|communicator was aborted)|watchdog thread terminated|DistBackendError",
    r"nccl(?:Remote|System|Internal|UnhandledCuda)Error|Some NCCL operations have failed or timed out",
    r"NET/IB\w* ?: ?Got (?:completion .*with (?:error|status)|async)|socketProgress|there was a network error",
    r"DistNetworkError|DistStoreError|[Ff]ailed to recv, got 0 bytes|sendBytes failed|recvValue\w* failed",
    r"client socket has (?:timed out|failed)|Timed out (?:after .* )?waiting for clients|Rendezvous\w*Error",
    r"Timed out initializing process group|The server socket has failed to listen",
)

PATTERNS: Final = (
    (ExitCode.DEVICE_ERROR, _BROKEN_DEVICE),
    (ExitCode.INTERNAL_ERROR, _KERNEL_ASSERTION),
    (ExitCode.OUT_OF_MEMORY, _OUT_OF_MEMORY),
    (ExitCode.DEVICE_ERROR, _DEAD_KERNEL),
    (ExitCode.STORAGE_ERROR, _STORAGE),
    (ExitCode.COMMUNICATION_ERROR, _COMMUNICATION),
)
