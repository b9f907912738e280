"""The methods the trainer knows, and the TRL config of a stage."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import TRAINING_METHODS, Method, Runtime, Stage

from . import trainer_args
from .device import Accelerator, Device
from .exceptions import ConfigurationError
from .methods.inputs import TrainerInputs
from .models import adapter
from .training_arguments import shared_arguments


class MethodModule(Protocol):
    """What a module of `alignment_trainer.methods` has.

    Attributes:
        OWNERS: TRL options that the method sets from its own API fields -> that field.
        PEFT_TASK: PEFT's task type for adapters of this method.
    """

    OWNERS: Mapping[str, str]
    PEFT_TASK: str

    def config_class(self) -> type[Any]:
        """The method's TRL config dataclass."""

    def options(self, stage: Stage) -> dict[str, Any]:
        """TRL options of the stage's method member."""

    def check(self, stage: Stage, path: str) -> list[Problem]:
        """What is wrong with the stage's method member, at ``path`` in the manifest, beyond TRL's own checks."""

    def make_trainer(self, inputs: TrainerInputs) -> Any:
        """The TRL trainer, ready to train; options that follow from the rows are put into ``inputs.config`` first."""


_CHECKING_DEVICE: Final = Device(Accelerator.CPU, 1)


def method_module(method: Method) -> MethodModule:
    """The module of a training method; importing it does not yet import TRL."""
    return cast(MethodModule, importlib.import_module(f"alignment_trainer.methods.{method.value}"))


def build_config(stage: Stage, runtime: Runtime, *, output_dir: Path, device: Device, evaluates: bool) -> Any:
    """The TRL config of a training stage.

    Args:
        stage: the stage.
        runtime: the gang that runs it.
        output_dir: folder for checkpoints.
        device: what the processes train on.
        evaluates: whether there are held-out rows.

    Raises:
        ConfigurationError: the batch sizes do not divide.
        ValueError: TRL refuses a combination of options.
    """
    module = method_module(stage.method)
    arguments = shared_arguments(stage, runtime, output_dir=output_dir, device=device, evaluates=evaluates)
    arguments |= module.options(stage)
    arguments |= stage.trainer_args or {}
    return module.config_class()(**arguments)


def check_options(stage: Stage, runtime: Runtime, *, path: str | None = None) -> list[Problem]:
    """What is wrong with the options of a stage, found without a GPU and without other processes.

    Args:
        stage: the stage; evaluate stages have no TRL options.
        runtime: the gang that will run it.
        path: path of the stage in the manifest; its name in ``spec.stages`` if not given.
    """
    if stage.method not in TRAINING_METHODS:
        return []
    path = path or f"spec.stages[{stage.name}]"
    module = method_module(stage.method)
    arguments = stage.trainer_args or {}
    problems = trainer_args.check(arguments, module.config_class(), module.OWNERS, f"{path}.trainerArgs")
    problems += module.check(stage, path)
    if stage.adapter:
        problems += adapter.check(stage.adapter, f"{path}.adapter")
    if problems:
        return problems
    try:
        build_config(stage, runtime, output_dir=Path("."), device=_CHECKING_DEVICE, evaluates=False)
    except ConfigurationError as error:
        return [problem.model_copy(update={"field": f"{path}.{problem.field}"}) for problem in error.problems]
    except (ValueError, TypeError) as error:
        return [
            Problem(field=f"{path}.trainerArgs", message=f"TRL refuses {json.dumps(arguments, default=str)}: {error}")
        ]
    return []
