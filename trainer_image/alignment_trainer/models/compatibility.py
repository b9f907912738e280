"""Whether the models of a stage fit together, and its adapter the model: found in Prepare, from base models alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import AlignmentJobSpec, Stage, uses

from ..base_models import BaseModel, base_of, root_of, root_of_source
from . import remote_code, reward_model
from .adapter import OUTPUT_HEAD

VALUES: Final = "ppo.value.model"
"""Path below the stage of the model that PPO's values start from."""

_GIVEN_THE_POLICYS_TOKENS: Final = (".reference", VALUES)


def problems(stage: Stage, spec: AlignmentJobSpec, folders: Mapping[BaseModel, Path], path: str) -> Iterator[Problem]:
    """What does not fit; a model that another stage makes is judged by the base model it descends from.

    Args:
        stage: the stage.
        spec: the whole job.
        folders: base model -> its local folder; what could not be had is missing, and another's error.
        path: path of the stage in the manifest.
    """
    base = root_of(stage, spec)
    if base is None or base not in folders:
        return
    if stage.adapter is not None and stage.adapter.lora.target_modules:
        yield from _targets(folders[base], stage.adapter.lora.target_modules, f"{path}.adapter.lora.targetModules")
    for use in uses.models(stage):
        if use.field.endswith(_GIVEN_THE_POLICYS_TOKENS):
            other = root_of_source(use.source, spec)
            if other is not None and other != base and other in folders:
                yield from _tokens(folders[base], folders[other], f"{path}.{use.field}")
                if stage.dpo is not None and stage.dpo.sync_reference is not None:
                    yield from _shapes(folders[base], folders[other], f"{path}.{use.field}")
        source = base_of(use.source)
        if use.field == VALUES and source is not None and source in folders:
            yield from _values(folders[source], f"{path}.{use.field}")


def _targets(folder: Path, targets: list[str], field: str) -> Iterator[Problem]:
    try:
        layers = linear_layers(folder)
    except (OSError, ValueError) as error:
        yield Problem(field=field, message=f"transformers cannot tell the layers of the model: {error}")
        return
    names = sorted({layer.rsplit(".", 1)[-1] for layer in layers} - {OUTPUT_HEAD})
    for target in targets:
        if not any(layer == target or layer.endswith(f".{target}") for layer in layers):
            message = f"{target} is no linear layer of the model, which has {', '.join(names)}: correct or remove it"
            yield Problem(field=field, message=message)


def linear_layers(folder: Path) -> list[str]:
    """Names of the linear layers of the language model in ``folder``, as PEFT sees them; no weights are read.

    Raises:
        OSError, ValueError: transformers does not know the model.
    """
    import torch
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer

    modules = _without_weights(folder).named_modules()
    return [name for name, module in modules if isinstance(module, torch.nn.Linear | Conv1D)]


def _without_weights(folder: Path) -> Any:
    """The language model in ``folder`` on torch's meta device."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, **remote_code.options(folder))
        return AutoModelForCausalLM.from_config(config, **remote_code.options(folder))


def _values(folder: Path, field: str) -> Iterator[Problem]:
    """Values start from the backbone of a language model, or from a reward model with its head."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    wrong = None
    try:
        config = AutoConfig.from_pretrained(folder, **remote_code.options(folder))
        if reward_model.is_classifier(config):
            with torch.device("meta"):
                head = getattr(
                    AutoModelForSequenceClassification.from_config(config, **remote_code.options(folder)), "score", None
                )
            if not isinstance(head, torch.nn.Linear):
                wrong = f"it has no linear head called score, as transformers' {config.architectures[0]} should"
            elif config.num_labels != 1:
                wrong = f"it has {config.num_labels} outputs, a reward model has one"
    except (OSError, ValueError) as error:
        wrong = str(error)
    if wrong is not None:
        message = f"values cannot start from this model: {wrong}; name another, or set ppo.value.sharedBackbone instead"
        yield Problem(field=field, message=message)


def _tokens(policy: Path, other: Path, field: str) -> Iterator[Problem]:
    """Token ids that mean other text to a model would make what it says of them meaningless, without an error."""
    from transformers import AutoTokenizer

    try:
        ours, theirs = (
            AutoTokenizer.from_pretrained(folder, **remote_code.options(folder)).get_vocab()
            for folder in (policy, other)
        )
    except (OSError, ValueError) as error:
        yield Problem(field=field, message=f"its tokens cannot be compared with those of the trained model: {error}")
        return
    if ours != theirs:
        differing = sum(theirs.get(token) != number for token, number in ours.items())
        message = (
            f"it has another vocabulary than the model that is trained ({len(theirs)} tokens to "
            f"{len(ours)}, of which {differing} are missing or numbered otherwise): name a model of the same family"
        )
        yield Problem(field=field, message=message)


def _shapes(policy: Path, reference: Path, field: str) -> Iterator[Problem]:
    """Weights can be mixed only with weights of the same shapes."""
    try:
        ours, theirs = (
            [(name, parameter.shape) for name, parameter in _without_weights(folder).named_parameters()]
            for folder in (policy, reference)
        )
    except (OSError, ValueError) as error:
        yield Problem(field=field, message=f"transformers cannot tell the layers of the models: {error}")
        return
    if ours != theirs:
        message = (
            "the reference has weights of other shapes than the model that is trained, so it cannot follow it: remove "
            "syncReference, or name a model of the same size"
        )
        yield Problem(field=field, message=message)
