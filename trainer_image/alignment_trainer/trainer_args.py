"""Checks of ``trainerArgs``: options of the TRL config class that the API has no field for."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, Final, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from alignment_api.contract import Problem

PLAIN_OWNERS: Final = {
    "learning_rate": "training.learningRate",
    "lr_scheduler_type": "training.schedule",
    "warmup_steps": "training.warmupRatio",
    "weight_decay": "training.weightDecay",
    "max_grad_norm": "training.maxGradNorm",
    "num_train_epochs": "training.epochs",
    "max_steps": "training.maxSteps",
    "per_device_train_batch_size": "training.microBatchSize",
    "gradient_accumulation_steps": "training.globalBatchSize",
    "activation_checkpointing": "training.gradientCheckpointing",
    "bf16": "training.precision",
    "fp16": "training.precision",
    "seed": "training.seed",
    "logging_steps": "training.loggingSteps",
    "eval_steps": "training.evalSteps",
    "save_steps": "training.checkpoint.everySteps",
    "save_total_limit": "training.checkpoint.keep",
    "ddp_timeout": "runtime.communication.timeoutSeconds",
    "deepspeed": "runtime.deepspeed",
    "chat_template_path": "spec.tokenizer.chatTemplate",
    "pad_token": "spec.tokenizer.padToken",
}
"""TRL's option -> the API field that is meant, for options that every method shares."""

TRAINER_OWNED: Final = frozenset(
    {
        "output_dir",
        "use_cpu",
        "report_to",
        "logging_strategy",
        "logging_first_step",
        "logging_nan_inf_filter",
        "save_strategy",
        "save_only_model",
        "save_on_each_node",
        "eval_strategy",
        "do_train",
        "do_eval",
        "do_predict",
        "load_best_model_at_end",
        "resume_from_checkpoint",
        "ignore_data_skip",
        "restore_callback_states_from_checkpoint",
        "enable_jit_checkpoint",
        "auto_find_batch_size",
        "accelerator_config",
        "fsdp",
        "fsdp_config",
        "parallelism_config",
        "disable_tqdm",
        "local_rank",
        "push_to_hub",
        "hub_model_id",
        "hub_token",
        "hub_strategy",
        "hub_private_repo",
        "hub_always_push",
        "hub_revision",
        "trust_remote_code",
    }
)
"""Options on which resume, progress, the guard and isolation rest."""

MODEL_OPTIONS: Final = "model_init_kwargs"
_REFUSED_MODEL_OPTIONS: Final = {
    "trust_remote_code": "set trustRemoteCode of the model (huggingFace or volume) instead",
    "use_safetensors": "weights are read as safetensors only: remove it",
    "weights_only": "weights are read as safetensors only: remove it",
}

FORMER_NAMES: Final = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}
"""Names that transformers still takes, but lets the new ones overrule."""


def check(
    arguments: Mapping[str, Any], config_class: type[Any], method_owners: Mapping[str, str], path: str
) -> list[Problem]:
    """What is wrong with ``arguments``, each problem naming the option and the way out.

    Args:
        arguments: the stage's ``trainerArgs``.
        config_class: the method's TRL config dataclass.
        method_owners: options that the method sets from its own API fields -> that field.
        path: path of ``trainerArgs`` in the manifest.
    """
    owners = {**PLAIN_OWNERS, **method_owners}
    known = {field.name for field in dataclasses.fields(config_class) if field.init}
    problems = []
    for name, value in arguments.items():
        message = (
            _refusal(name, known, owners, config_class.__name__)
            or _wrong_type(name, value, config_class)
            or _refused_key(name, value)
        )
        if message:
            problems.append(Problem(field=f"{path}.{name}", message=message))
    return problems


def _refusal(name: str, known: set[str], owners: Mapping[str, str], class_name: str) -> str | None:
    new_name = FORMER_NAMES.get(name, name)
    if new_name != name:
        return f"set {owners.get(new_name, new_name)} instead"
    if name in owners:
        return f"set {owners[name]} instead"
    if name in TRAINER_OWNED:
        return "the trainer sets this itself: remove it"
    if name not in known:
        nearest = difflib.get_close_matches(name, known - owners.keys() - TRAINER_OWNED, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else "see TRL's documentation for its options"
        return f"{class_name} has no option {name}: {hint}"
    return None


def _refused_key(name: str, value: Any) -> str | None:
    """What a way of loading models would get around."""
    if name == MODEL_OPTIONS and isinstance(value, Mapping):
        for key, message in _REFUSED_MODEL_OPTIONS.items():
            if key in value:
                return f"{key}: {message}"
    return None


def _wrong_type(name: str, value: Any, config_class: type[Any]) -> str | None:
    """Why ``value`` does not fit the option's annotation; dataclasses themselves take anything."""
    try:
        TypeAdapter(get_type_hints(config_class)[name]).validate_python(value)
    except ValidationError as error:
        return f"{value!r}: {error.errors()[0]['msg']}"
    except PydanticUserError:  # an annotation pydantic cannot check
        return None
    return None
