"""Training and Runtime of a stage -> keyword arguments that every TRL config class shares. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Runtime, Stage, Training

from . import defaults
from .device import Device
from .exceptions import ConfigurationError

NO_EVALUATION: Final = "no"
BY_STEPS: Final = "steps"


def gradient_accumulation_steps(training: Training, runtime: Runtime) -> int:
    """Micro batches that each process accumulates before an optimizer step.

    Raises:
        ConfigurationError: globalBatchSize is not a multiple of what one forward pass of all processes takes.
    """
    rows = training.micro_batch_size * runtime.nodes * runtime.processes_per_node
    steps, rest = divmod(training.global_batch_size, rows)
    if rest:
        problem = Problem(
            field="training.globalBatchSize",
            message=f"{training.global_batch_size} is not a multiple of microBatchSize {training.micro_batch_size} x "
            f"nodes {runtime.nodes} x processesPerNode {runtime.processes_per_node} = {rows}",
        )
        raise ConfigurationError("the batch sizes do not divide", [problem])
    return steps


def uses_bf16(training: Training, device: Device) -> bool:
    """Whether the stage computes in bfloat16; CPUs compute in float32 unless told otherwise."""
    return training.precision == "bf16" or (training.precision == "auto" and not device.is_cpu)


def shared_arguments(
    stage: Stage, runtime: Runtime, *, output_dir: Path, device: Device, evaluates: bool
) -> dict[str, Any]:
    """Keyword arguments of ``transformers.TrainingArguments`` for ``stage``.

    Args:
        stage: the stage.
        runtime: the gang that runs it.
        output_dir: folder for checkpoints.
        device: what the processes train on.
        evaluates: whether there are held-out rows.
    """
    training = stage.training
    arguments: dict[str, Any] = defaults.options(stage, runtime) | {
        "output_dir": str(output_dir),
        "lr_scheduler_type": training.schedule.value,
        "warmup_steps": training.warmup_ratio,  # below 1 is a fraction of all steps
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "num_train_epochs": training.epochs,
        "per_device_train_batch_size": training.micro_batch_size,
        "per_device_eval_batch_size": training.micro_batch_size,
        "gradient_accumulation_steps": gradient_accumulation_steps(training, runtime),
        "activation_checkpointing": training.gradient_checkpointing,
        "bf16": uses_bf16(training, device),
        "use_cpu": device.is_cpu,
        "seed": training.seed,
        "logging_steps": training.logging_steps,
        "logging_first_step": True,  # a loss within one step, also of runs shorter than loggingSteps
        "logging_nan_inf_filter": False,  # it would report the mean of earlier losses in place of a NaN
        "save_strategy": BY_STEPS,
        "save_steps": training.checkpoint.every_steps,
        "eval_strategy": BY_STEPS if evaluates else NO_EVALUATION,
        "report_to": "none",
        "disable_tqdm": True,
        "ddp_timeout": runtime.communication.timeout_seconds,
        "dataloader_pin_memory": not device.is_cpu,
    }
    if training.learning_rate is not None:
        arguments["learning_rate"] = training.learning_rate
    if training.max_steps is not None:
        arguments["max_steps"] = training.max_steps
    if evaluates:
        # A number of steps never reached leaves the evaluation that transformers runs after the last step.
        arguments["eval_steps"] = training.eval_steps or 2**31
    return arguments
