"""Runtime of a stage -> what accelerate, DeepSpeed and the training processes are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_trainer.attempt import Attempt
from alignment_trainer.device import Accelerator, Device
from alignment_trainer.exceptions import ConfigurationError, DeviceError
from alignment_trainer.launch import machine
from alignment_trainer.launch.accelerate_config import Rendezvous, accelerate_config, command, deepspeed_config
from alignment_trainer.launch.child_environment import child_environment, default_interface

from .conftest import stage_of

CPU = Device(Accelerator.CPU, 1)
GPUS = Device(Accelerator.CUDA, 8)
ROUTES = "Iface\tDestination\tGateway\neth1\t0002000A\t00000000\neth0\t00000000\t0100000A\n"
STAGE = Stage.model_validate(stage_of(Method.SFT))
RENDEZVOUS = Rendezvous("job-0.service", 29500, machine_rank=1)


def runtime(**fields: object) -> Runtime:
    return Runtime.model_validate(fields)


def test_two_pods_of_eight_gpus() -> None:
    config = accelerate_config(runtime(nodes=2, processesPerNode=8), RENDEZVOUS, GPUS, Path("/run/deepspeed.json"))
    assert config["distributed_type"] == "DEEPSPEED"
    assert (config["num_machines"], config["num_processes"], config["machine_rank"]) == (2, 16, 1)
    assert (config["main_process_ip"], config["main_process_port"]) == ("job-0.service", 29500)
    assert config["deepspeed_config"]["deepspeed_config_file"] == "/run/deepspeed.json"
    assert not config["use_cpu"]


@pytest.mark.parametrize(("processes", "kind"), [(1, "NO"), (2, "MULTI_GPU")])
def test_zero_stage_0_is_plain_data_parallelism(processes: int, kind: str) -> None:
    plain = runtime(processesPerNode=processes, deepspeed={"zeroStage": 0})
    config = accelerate_config(plain, RENDEZVOUS, CPU, Path("/run/deepspeed.json"))
    assert config["distributed_type"] == kind
    assert "deepspeed_config" not in config


def test_offloading_brings_deepspeeds_own_optimizer() -> None:
    offload = {"optimizer": "cpu", "parameters": "cpu"}
    config = deepspeed_config(runtime(deepspeed={"zeroStage": 3, "offload": offload}))
    assert config["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert config["zero_optimization"]["offload_param"]["device"] == "cpu"
    assert config["optimizer"]["type"] == "AdamW"
    assert "optimizer" not in deepspeed_config(runtime())


def test_the_gangs_timeout_reaches_the_rendezvous() -> None:
    parts = command(Path("/run/a.json"), runtime(communication={"timeoutSeconds": 77}), Attempt("dpo", 3))
    assert "timeout=77" in parts
    assert parts[-4:] == ["--stage", "dpo", "--attempt", "3"]


@pytest.mark.parametrize(
    ("fields", "device", "gloo", "nccl"),
    [
        ({"nodes": 2}, CPU, "eth0", "eth0"),
        ({}, CPU, "lo", "lo"),
        ({"nodes": 2}, GPUS, None, None),
        ({"communication": {"interface": "=ib0"}}, GPUS, "ib0", "=ib0"),
        ({"communication": {"interface": "^docker"}}, GPUS, None, "^docker"),
    ],
)
def test_interfaces(fields: dict[str, object], device: Device, gloo: str | None, nccl: str | None) -> None:
    variables = child_environment({}, runtime(**fields), device, Path("/run"), ROUTES)
    assert variables.get("GLOO_SOCKET_IFNAME") == gloo
    assert variables.get("NCCL_SOCKET_IFNAME") == nccl


def test_variables_of_the_pod_win_over_defaults() -> None:
    variables = child_environment({"OMP_NUM_THREADS": "4"}, runtime(), CPU, Path("/run"), "")
    assert variables["OMP_NUM_THREADS"] == "4"
    assert variables["DS_ACCELERATOR"] == "cpu"
    assert "DS_ACCELERATOR" not in child_environment({}, runtime(), GPUS, Path("/run"), "")


def test_no_default_route() -> None:
    assert default_interface("Iface\tDestination\n") is None


def test_a_machine_without_what_the_gang_needs() -> None:
    with pytest.raises(DeviceError, match="shows none"):
        machine.check(STAGE, runtime(resources={"limits": {"nvidia.com/gpu": 8}}), CPU)
    with pytest.raises(ConfigurationError, match=r"processesPerNode is 9, but the Pod has 8 GPUs"):
        machine.check(STAGE, runtime(processesPerNode=9), GPUS)
    machine.check(STAGE, runtime(processesPerNode=2), CPU)
