"""Failures as the programs and drivers print them -> exit codes: a table."""

from __future__ import annotations

import errno

import pytest

from alignment_api.exit_codes import ExitCode
from alignment_trainer.exceptions import ConfigurationError
from alignment_trainer.failures.classify import is_collective_timeout, of_exception, of_text

CUDA_ADVICE = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1.\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)
WATCHDOG = "[rank2]:[E1121 02:07:08.408271257 ProcessGroupNCCL.cpp:688] [Rank 2] "
NCCL_TIMEOUT = (
    f"{WATCHDOG}Watchdog caught collective operation timeout: WorkNCCL(SeqNum=158, OpType=ALLREDUCE, NumelIn=4096, "
    "NumelOut=4096, Timeout(ms)=600000) ran for 600060 milliseconds before timing out.\n"
    f"{WATCHDOG}To avoid data inconsistency, we are taking the entire process down.\n"
)
GLOO = "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/"
NCCL_SYSTEM = (
    "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94, "
    "unhandled system error, NCCL version 2.29.7\nncclSystemError: System call (e.g. socket, malloc) or external "
    "library call failed or device error.\nLast error:\n"
)
NCCL_CUDA = "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n"
SMI = "|   3  NVIDIA H100 80GB HBM3     Off | 00000000:5D:00.0 Off |"


@pytest.mark.parametrize(
    "text",
    [
        "NVRM: Xid (PCI:0000:5d:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        "NVRM: Xid (PCI:0000:18:00): 48, pid=2137, An uncorrectable double bit error (DBE) has been detected on GPU",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
        "NVRM: Xid (PCI:0000:18:00): 31, pid=2137, name=python3, Ch 00000008, MMU Fault: ENGINE GRAPHICS",
        "Error: GPU 4: Detected XID 94 in the last 5 minutes",
        f"torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered{CUDA_ADVICE}",
        f"torch.AcceleratorError: CUDA error: an illegal memory access was encountered{CUDA_ADVICE}",
        f"RuntimeError: CUDA error: unspecified launch failure{CUDA_ADVICE}",
        f"RuntimeError: CUDA error: unknown error{CUDA_ADVICE}",
        "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment",
        "RuntimeError: CUDA driver error: unknown error",
        "RuntimeError: No CUDA GPUs are available",
        f"RuntimeError: CUDA error: no CUDA-capable device is detected{CUDA_ADVICE}",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
        "cudaErrorECCUncorrectable: uncorrectable ECC error encountered",
        "Unable to determine the device handle for GPU0: 0000:5D:00.0: Unknown Error",
        "Unable to determine the device handle for GPU 0000:5D:00.0: GPU is lost.  Reboot the system",
        f"{SMI}\n| ERR!   34C    P0   ERR! / 700W |      0MiB / 81559MiB |      0%      Default |",
        "torch.AcceleratorError: HIP error: an illegal memory access was encountered",
        "Memory access fault by GPU node-2 (Agent handle: 0x5646) on address 0x7fe5. Reason: Page not present.",
        "RuntimeError: HIP error: no ROCm-capable device is detected",
        "hipErrorECCNotCorrectable",
        # A broken device and what follows from it.
        f"{NCCL_CUDA}Cuda failure 999 'unknown error'",
        f"{NCCL_CUDA}Cuda failure 'uncorrectable NVLink error detected during the execution'",
        f"{WATCHDOG}Process group watchdog thread terminated with exception: CUDA error: unspecified launch failure",
        f"NVRM: Xid (PCI:0000:5d:00): 74, pid=7, NVLink: fatal error detected on link 2\n{NCCL_TIMEOUT}",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered\nRuntimeError: CUDA error: out of memory",
    ],
)
def test_devices(text: str) -> None:
    assert of_text(text) is ExitCode.DEVICE_ERROR


@pytest.mark.parametrize(
    "text",
    [
        "Indexing.cu:1290: block: [0,0,0], thread: [1,0,0] Assertion `srcIndex < srcSelectDimSize` failed.\n"
        f"torch.AcceleratorError: CUDA error: device-side assert triggered{CUDA_ADVICE}",
        f"{WATCHDOG}Process group watchdog thread terminated with exception: CUDA error: device-side assert triggered",
        "NVRM: Xid (PCI:0000:18:00): 43, pid=77, name=python3\nCUDA error: device-side assert triggered",
    ],
)
def test_an_assertion_in_a_kernel_is_a_bug(text: str) -> None:
    assert of_text(text) is ExitCode.INTERNAL_ERROR


@pytest.mark.parametrize(
    "text",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of",
        f"torch.AcceleratorError: CUDA error: out of memory{CUDA_ADVICE}",
        "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 256.00 MiB",
        f"{NCCL_CUDA}Cuda failure 2 'out of memory'",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:125] err == 0. DefaultCPUAllocator: can't allocate memory",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array with shape (1000000000,)",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "OSError: [Errno 12] Cannot allocate memory",
        f"torch.OutOfMemoryError: CUDA out of memory. Tried\n{GLOO}pair.cc:553] Connection closed by peer",
    ],
)
def test_memory(text: str) -> None:
    assert of_text(text) is ExitCode.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "text",
    [
        NCCL_TIMEOUT,
        f"{GLOO}unbound_buffer.cc:78] Timed out waiting 1800000ms for recv operation to complete",
        "DistStoreError: wait timeout after 600000ms, keys: /default_pg/0//cuda//0",
        "RuntimeError: Rank 2 timed out in monitoredBarrier after 1800000 ms.",
        "[E1121 ProcessGroupNCCL.cpp:1370] [PG ID 0] Heartbeat monitor timed out! Process will be terminated",
    ],
)
def test_collective_timeouts(text: str) -> None:
    assert of_text(text) is ExitCode.COMMUNICATION_ERROR
    assert is_collective_timeout(text)


@pytest.mark.parametrize(
    "text",
    [
        f"{GLOO}pair.cc:553] Connection closed by peer [10.0.0.7]:7403. This is typically caused by a remote crash.",
        f"{GLOO}pair.cc:466] connect timeout [10.0.0.7]:2000",
        f"{NCCL_SYSTEM}socketStartConnect: Connect to 10.0.0.7<40211> failed : Software caused connection abort",
        f"{NCCL_SYSTEM}Call to ibv_create_cq failed with error Cannot allocate memory",
        "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.",
        f"{NCCL_CUDA}Cuda failure 1 'invalid argument'",
        "node-1:77:120 [0] NCCL WARN NET/IB : Got completion from peer 10.0.0.7<4791> with status=12 opcode=0 len=0",
        "[W514 TCPStore.cpp:138] [c10d] recvValueWithTimeout failed on SocketImpl(fd=3): Failed to recv, got 0 bytes.",
        "torch.distributed.DistNetworkError: The client socket has timed out after 60000ms while trying",
        "torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 clients joined.",
        "[W socket.cpp:755] The IPv6 network addresses of (j-0.j, 29500) cannot be retrieved (gai error: -2 - Name or "
        "service not known).",
        "torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError",
    ],
)
def test_lost_peers(text: str) -> None:
    assert of_text(text) is ExitCode.COMMUNICATION_ERROR
    assert not is_collective_timeout(text)


@pytest.mark.parametrize(
    "text",
    [
        "step 3 loss 0.5, 12 GB of memory in use",
        CUDA_ADVICE,
        "node-1:77:120 [0] NCCL INFO NVLS multicast support is available on dev 0",
        "| GPU  Name   Persistence-M| Bus-Id     Disp.A | Volatile Uncorr. ECC |",
        "npm ERR! code 1",
        "KeyError: 'prompt'",
    ],
)
def test_ordinary_output_speaks_for_nothing(text: str) -> None:
    assert of_text(text) is None


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ConfigurationError("no"), ExitCode.CONFIGURATION_ERROR),
        (MemoryError(), ExitCode.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), ExitCode.STORAGE_ERROR),
        (RuntimeError("[gloo/tcp/pair.cc:534] Connection closed by peer [::1]:1"), ExitCode.COMMUNICATION_ERROR),
        (RuntimeError("CUDA error: unspecified launch failure"), ExitCode.DEVICE_ERROR),
        (KeyError("x"), ExitCode.INTERNAL_ERROR),
    ],
)
def test_exceptions(error: Exception, exit_code: ExitCode) -> None:
    assert of_exception(error).exit_code is exit_code


def test_a_lost_peer_is_told_with_the_place_it_was_missed_at() -> None:
    def gather_rewards() -> None:
        raise RuntimeError("[gloo/tcp/pair.cc:534] Connection closed by peer [::1]:1")

    with pytest.raises(RuntimeError) as raised:
        gather_rewards()
    assert "; in gather_rewards (" in of_exception(raised.value).message
