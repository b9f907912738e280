"""A method's trainer in the process of the test, to look into: no gang, no DeepSpeed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignment_api.contract import AttemptLayout
from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_trainer.device import Accelerator, Device
from alignment_trainer.methods.inputs import TrainerInputs
from alignment_trainer.models import adapter
from alignment_trainer.registry import build_config, method_module

from .conftest import stage_of

RUNTIME = Runtime.model_validate({"deepspeed": {"zeroStage": 0}})


def make_trainer(
    method: Method,
    rows: Sequence[dict[str, Any]],
    model: Path,
    folder: Path,
    *,
    held_out: Sequence[dict[str, Any]] = (),
    tokenizer: Any = None,
    models: dict[str, str] | None = None,
    **fields: Any,
) -> Any:
    """The trainer of a stage, as a training process makes it.

    One at a time: the next trainer's config resets the state of accelerate that this one is built on.

    Args:
        method: the method.
        rows: training rows, as Prepare leaves them.
        model: folder of the model.
        folder: where files of the attempt go.
        held_out: rows to evaluate on.
        tokenizer: the tokenizer; the model's own if not given.
        models: further models of the stage, such as ``kto.reference``.
        fields: the stage's fields, such as ``adapter`` or ``kto``.
    """
    from datasets import Dataset
    from transformers import AutoTokenizer

    stage = Stage.model_validate(stage_of(method, **fields))
    config = build_config(
        stage, RUNTIME, output_dir=folder, device=Device(Accelerator.CPU, 1), evaluates=bool(held_out)
    )
    module = method_module(method)
    return module.make_trainer(
        TrainerInputs(
            stage=stage,
            config=config,
            model=str(model),
            tokenizer=tokenizer or AutoTokenizer.from_pretrained(str(model)),
            train_dataset=Dataset.from_list(list(rows)),
            attempt=AttemptLayout(folder),
            device="cpu",
            eval_dataset=Dataset.from_list(list(held_out)) if held_out else None,
            models={"model": str(model)} | (models or {}),
            peft_config=adapter.peft_config(stage.adapter, module.PEFT_TASK) if stage.adapter else None,
            quantization_config=adapter.quantization_config(stage.adapter) if stage.adapter else None,
        )
    )
