"""The resolved configuration of an attempt: what it really trains with, and who decided each option.

Kept beside the attempt's checkpoints as ``resolved.json``, and summed up in the log.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import JobLayout, RunConfig
from alignment_api.v1alpha1 import Runtime, Stage, Tokenizer

from . import defaults, trainer_args
from .attempt import Attempt
from .completion import read_marker
from .files import write_atomically
from .guard.thresholds import guard_of, thresholds_of
from .methods.inputs import TrainerInputs
from .models.export import ModelMarker
from .registry import method_module

_log = logging.getLogger(__name__)

TRAINER_ARGS: Final = "trainerArgs"
ATTEMPT: Final = "attempt"
DEFAULT: Final = "default"
TRAINER: Final = "trainer"
TRL: Final = "trl"
_PACKAGES: Final = ("torch", "trl", "transformers", "peft", "datasets", "accelerate", "deepspeed")


def record(
    inputs: TrainerInputs, options: Any, config: RunConfig, layout: JobLayout, attempt: Attempt, resumed_from: int
) -> None:
    """Write the resolved configuration of an attempt and log its summary.

    Args:
        inputs: what the trainer was built from.
        options: the TRL config as the trainer left it.
        config: the whole job.
        layout: its folders.
        attempt: the attempt, for what it decides itself.
        resumed_from: step of the checkpoint it goes on from; 0 without one.
    """
    runtime = config.spec.runtime_of(inputs.stage)
    content = {
        **_run(inputs, config, layout),
        "resumedFrom": resumed_from,
        "gang": _gang(runtime, attempt),
        "options": decided(options.to_dict(), inputs.stage, runtime) | _reshaped(options, attempt),
    }
    write_atomically(inputs.attempt.resolved, json.dumps(content, indent=2, default=str))
    _log.info("%s", summary(content))


def decided(options: Mapping[str, Any], stage: Stage, runtime: Runtime) -> dict[str, dict[str, Any]]:
    """Every option with its value and who decided it.

    Returns:
        Option -> ``value`` and ``by``: ``trainerArgs``; the API field that is meant, such as ``dpo.beta``; ``default``
        for our good starts; ``trainer`` for what runs rest on; ``trl`` for the rest.
    """
    module = method_module(stage.method)
    fields = {**trainer_args.PLAIN_OWNERS, **module.OWNERS}
    ours = module.options(stage).keys()
    good_starts = defaults.options(stage, runtime).keys()

    def by(name: str) -> str:
        if name in (stage.trainer_args or {}):
            return TRAINER_ARGS
        if name in good_starts:
            return DEFAULT
        if name in fields:
            return fields[name]
        return TRAINER if name in ours or name in trainer_args.TRAINER_OWNED else TRL

    names = options.keys() - trainer_args.FORMER_NAMES.keys()
    return {name: {"value": options[name], "by": by(name)} for name in sorted(names)}


def _reshaped(options: Any, attempt: Attempt) -> dict[str, dict[str, Any]]:
    """The options that follow from an attempt's own shape rather than from the specification."""
    names = []
    if attempt.micro_batch_size is not None:
        names += ["per_device_train_batch_size", "per_device_eval_batch_size"]
    if attempt.micro_batch_size is not None or attempt.nodes is not None:
        names.append("gradient_accumulation_steps")
    return {name: {"value": getattr(options, name), "by": ATTEMPT} for name in names}


def _gang(runtime: Runtime, attempt: Attempt) -> dict[str, dict[str, Any]]:
    """The size of the gang, and who decided it."""
    return {
        "nodes": {"value": runtime.nodes, "by": "runtime.nodes" if attempt.nodes is None else ATTEMPT},
        "processesPerNode": {"value": runtime.processes_per_node, "by": "runtime.processesPerNode"},
    }


def summary(content: Mapping[str, Any]) -> str:
    """A few lines for the log: the model, the tokenizer, and every option that was not left to TRL or the trainer."""
    tokenizer, adapter = content["tokenizer"], content["adapter"]
    lines = [
        f"stage {content['stage']}: {content['method']} of {'an adapter on ' if adapter else ''}{content['model']}",
        *(f"{field}: {folder['path']}" for field, folder in content["models"].items() if field != "model"),
        *([f"adapter: {json.dumps(adapter)}"] if adapter else []),
        "gang: " + ", ".join(f"{name} {entry['value']} ({entry['by']})" for name, entry in content["gang"].items()),
        f"guard: {json.dumps(content['guard'])}",
        f"tokenizer: pad {tokenizer['pad']['token']}, end {tokenizer['eos']['token']}, "
        f"chat template {tokenizer['chatTemplate']['name']} ({tokenizer['chatTemplate']['digest'][:19]})",
        "versions: " + ", ".join(f"{name} {number}" for name, number in content["versions"].items()),
    ]
    for name, option in content["options"].items():
        if option["by"] not in (TRL, TRAINER):
            lines.append(f"{name} = {option['value']} ({option['by']})")
    return "\n  ".join(lines)


def _run(inputs: TrainerInputs, config: RunConfig, layout: JobLayout) -> dict[str, Any]:
    """Everything but the options."""
    stage, tokenizer = inputs.stage, inputs.tokenizer
    return {
        "stage": stage.name,
        "method": stage.method.value,
        "model": layout.relative(Path(inputs.model)),
        "models": {
            field: {"path": layout.relative(Path(folder)), "digest": _digest(Path(folder))}
            for field, folder in inputs.models.items()
        },
        "adapter": stage.adapter.model_dump(mode="json", by_alias=True) if stage.adapter else None,
        "guard": _guard(stage),
        "tokenizer": {
            "pad": {"token": tokenizer.pad_token, "id": tokenizer.pad_token_id},
            "eos": {"token": tokenizer.eos_token, "id": tokenizer.eos_token_id},
            "chatTemplate": {
                "name": _template_name(config.spec.tokenizer),
                "digest": f"sha256:{hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()}",
            },
        },
        "seed": stage.training.seed,
        "rows": {"train": len(inputs.train_dataset), "eval": len(inputs.eval_dataset or ())},
        "versions": {name: version(name) for name in _PACKAGES},
    }


def _guard(stage: Stage) -> dict[str, Any] | None:
    """What stops the stage; None if nothing does."""
    guard = guard_of(stage)
    if not guard.enabled:
        return None
    limits = {threshold.quantity.value: threshold.limit for threshold in thresholds_of(stage)}
    return {"startCheck": guard.start_check, "patience": guard.patience, **limits}


def _digest(folder: Path) -> str | None:
    """Digest of a model that a stage made; base models are told by their path, which names a commit if from a hub."""
    marker = read_marker(folder, ModelMarker)
    return marker.digest if marker else None


def _template_name(overrides: Tokenizer) -> str:
    template = overrides.chat_template
    if template is None:
        return "of the model"
    return template.name or "inline"
