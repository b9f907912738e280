"""Runtime of a stage -> configuration files and command line of ``accelerate launch``. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alignment_api.v1alpha1 import Runtime

from ..attempt import Attempt
from ..device import Device

TRAINING_MODULE: Final = "alignment_trainer.run"
LOCAL_HOST: Final = "127.0.0.1"
AUTO: Final = "auto"


@dataclass(frozen=True)
class Rendezvous:
    """Where the processes of a gang meet.

    Attributes:
        host: name or address of rank 0's Pod.
        port: port on it.
        machine_rank: index of this Pod.
    """

    host: str
    port: int
    machine_rank: int


def accelerate_config(runtime: Runtime, rendezvous: Rendezvous, device: Device, deepspeed: Path) -> dict[str, Any]:
    """accelerate's configuration file.

    Args:
        runtime: the gang.
        rendezvous: where it meets.
        device: what its processes train on.
        deepspeed: where DeepSpeed's configuration lies, if DeepSpeed is used.
    """
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": _distributed_type(runtime),
        "num_machines": runtime.nodes,
        "num_processes": runtime.nodes * runtime.processes_per_node,
        "machine_rank": rendezvous.machine_rank,
        "main_process_ip": rendezvous.host,
        "main_process_port": rendezvous.port,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": device.is_cpu,
        "main_training_function": "main",
    }
    if runtime.deepspeed.zero_stage > 0:
        config["deepspeed_config"] = {
            "deepspeed_config_file": str(deepspeed),
            "deepspeed_multinode_launcher": "standard",
            "zero3_init_flag": False,  # transformers partitions models while it loads them, without this flag
        }
    return config


def deepspeed_config(runtime: Runtime) -> dict[str, Any]:
    """DeepSpeed's configuration file; ``auto`` values are filled in by transformers from the TRL config.

    Buckets and the size below which parameters stay on every process are left to DeepSpeed: what transformers would
    fill in follows from the hidden size, and makes small models gather nearly every matrix at each use.
    """
    zero = runtime.deepspeed
    optimization: dict[str, Any] = {"stage": zero.zero_stage}
    if zero.zero_stage == 3:
        optimization["stage3_gather_16bit_weights_on_model_save"] = True
    config: dict[str, Any] = {
        "train_batch_size": AUTO,
        "train_micro_batch_size_per_gpu": AUTO,
        "gradient_accumulation_steps": AUTO,
        "gradient_clipping": AUTO,
        "bf16": {"enabled": AUTO},
        "zero_optimization": optimization,
        "steps_per_print": 2**31,
    }
    if zero.offload.optimizer != "none":
        optimization["offload_optimizer"] = {"device": zero.offload.optimizer, "pin_memory": True}
        config["optimizer"] = {  # offloading needs DeepSpeed's own AdamW on the host
            "type": "AdamW",
            "params": {"lr": AUTO, "betas": AUTO, "eps": AUTO, "weight_decay": AUTO},
        }
    if zero.offload.parameters != "none":
        optimization["offload_param"] = {"device": zero.offload.parameters, "pin_memory": True}
    return config


def command(config_file: Path, runtime: Runtime, attempt: Attempt) -> list[str]:
    """The command line that starts this Pod's training processes."""
    return [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--config_file", str(config_file)),
        *("--rdzv_conf", f"timeout={runtime.communication.timeout_seconds}"),
        *("-m", TRAINING_MODULE, *attempt.arguments()),
    ]


def _distributed_type(runtime: Runtime) -> str:
    if runtime.deepspeed.zero_stage > 0:
        return "DEEPSPEED"
    # On CPUs too: accelerate's own CPU launcher needs MPI, and torch picks gloo by itself.
    return "MULTI_GPU" if runtime.nodes * runtime.processes_per_node > 1 else "NO"
