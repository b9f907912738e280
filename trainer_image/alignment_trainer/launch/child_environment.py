"""Environment of the training processes. Pure but for the look-up of the default network interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from alignment_api.v1alpha1 import Runtime

from ..device import Device
from ..run_files import RUN_FOLDER_VARIABLE

_ROUTES: Final = Path("/proc/net/route")
_SHUTDOWN_SECONDS: Final = 5


def child_environment(
    inherited: Mapping[str, str], runtime: Runtime, device: Device, run_folder: Path, routes: str
) -> dict[str, str]:
    """Variables for the training processes.

    Args:
        inherited: the Pod's own variables; those a user sets in ``podTemplate.env`` win over ours.
        runtime: the gang.
        device: what it trains on.
        run_folder: folder shared with the supervisor.
        routes: the kernel's routing table, in the format of /proc/net/route.
    """
    cache = run_folder / "cache"
    defaults = {
        "HF_HUB_OFFLINE": "1",  # models and data are in the workspace; Prepare brought them
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(cache / "huggingface"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "OMP_NUM_THREADS": "1",  # gangs on CPUs are small and share them; on GPUs only the optimizer offload would gain
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        # What the launcher's SIGTERM does not end, waits for a dead peer: no use in waiting longer.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(_SHUTDOWN_SECONDS),
    }
    forced = {RUN_FOLDER_VARIABLE: str(run_folder)}
    interface = runtime.communication.interface
    if device.is_cpu:
        # Not ACCELERATE_USE_CPU: accelerate would then take DeepSpeed for plain data parallelism.
        forced["DS_ACCELERATOR"] = "cpu"
        interface = interface or (default_interface(routes) if runtime.nodes > 1 else "lo")
    if interface:
        forced["NCCL_SOCKET_IFNAME"] = interface
        if not interface.startswith("^"):  # NCCL's "all but"; gloo only knows names
            forced["GLOO_SOCKET_IFNAME"] = interface.removeprefix("=")
    return {**defaults, **inherited, **forced}


def read_routes() -> str:
    """The kernel's routing table; empty if it cannot be read."""
    return _ROUTES.read_text() if _ROUTES.exists() else ""


def default_interface(routes: str) -> str | None:
    """The interface of the default route, or None if there is none."""
    for line in routes.splitlines()[1:]:
        columns = line.split()
        if len(columns) > 1 and columns[1] == "00000000":
            return columns[0]
    return None
