"""Every loss of the API reaches TRL's computation and gives a finite loss with finite gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import AttemptLayout
from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_api.v1alpha1.methods import DpoLossType
from alignment_trainer.device import Accelerator, Device
from alignment_trainer.methods import dpo
from alignment_trainer.methods.inputs import TrainerInputs
from alignment_trainer.registry import build_config

from . import tiny
from .conftest import stage_of

ONE_PROCESS = Runtime.model_validate({"deepspeed": {"zeroStage": 0}})


def stage_with(loss: DpoLossType) -> Stage:
    return Stage.model_validate(stage_of(Method.DPO, dpo={"loss": [{"type": loss.value, "weight": 2.0}]}))


@pytest.fixture(scope="module")
def trainer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer

    stage = stage_with(DpoLossType.SIGMOID)
    output = tmp_path_factory.mktemp("out")
    config = build_config(stage, ONE_PROCESS, output_dir=output, device=Device(Accelerator.CPU, 1), evaluates=False)
    return dpo.make_trainer(
        TrainerInputs(
            stage=stage,
            config=config,
            model=str(tiny_model),
            tokenizer=AutoTokenizer.from_pretrained(str(tiny_model)),
            train_dataset=Dataset.from_list(tiny.preference_rows(4)),
            attempt=AttemptLayout(output),
            device="cpu",
        )
    )


@pytest.mark.parametrize("loss_type", list(DpoLossType))
def test_loss(trainer: Any, loss_type: DpoLossType) -> None:
    options = dpo.options(stage_with(loss_type))
    # One trainer for all: another config would reset the state of accelerate that this one is built on.
    trainer.loss_types, trainer.loss_weights = options["loss_type"], options["loss_weights"]
    trainer.label_smoothing = options["label_smoothing"]
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    assert loss.isfinite()
    gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
