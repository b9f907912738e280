"""What the trainers hold in memory, that every loss of the API reaches TRL's computation, and that they learn."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from alignment_api.contract import AttemptLayout
from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_api.v1alpha1.methods.grpo import GrpoLoss
from alignment_trainer.device import Accelerator, Device
from alignment_trainer.methods import grpo
from alignment_trainer.methods.inputs import TrainerInputs
from alignment_trainer.models import adapter
from alignment_trainer.registry import build_config, method_module

from .conftest import TRAINING, stage_of
from .plain_rewards import REWARDS, prompt_rows

ONE_PROCESS = Runtime.model_validate({"deepspeed": {"zeroStage": 0}})


def stage_with(method: Method, member: dict[str, Any], training: dict[str, Any] | None = None, **fields: Any) -> Stage:
    online = {"generations": 4, "maxCompletionLength": 12, "rewards": REWARDS} | member
    training = training or {"globalBatchSize": 4, "microBatchSize": 4}
    return Stage.model_validate(stage_of(method, training=training, **{method.value: online}, **fields))


def trainer_of(stage: Stage, model: Path, output: Path) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer

    config = build_config(stage, ONE_PROCESS, output_dir=output, device=Device(Accelerator.CPU, 1), evaluates=False)
    method = method_module(stage.method)
    return method.make_trainer(
        TrainerInputs(
            stage=stage,
            config=config,
            model=str(model),
            tokenizer=AutoTokenizer.from_pretrained(str(model)),
            train_dataset=Dataset.from_list(prompt_rows(4)),
            attempt=AttemptLayout(output),
            device="cpu",
            peft_config=adapter.peft_config(stage.adapter, method.PEFT_TASK) if stage.adapter else None,
        )
    )


@pytest.mark.parametrize("method", [Method.GRPO, Method.RLOO])
@pytest.mark.parametrize(
    ("beta", "fields", "held"),
    [(0.0, {}, False), (0.1, {}, True), (0.1, {"adapter": {}}, False)],
    ids=["no-penalty", "penalty", "penalty-with-adapter"],
)
def test_a_reference_is_held_only_for_a_penalty_on_all_weights(
    method: Method, beta: float, fields: dict[str, Any], held: bool, tiny_model: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(stage_with(method, {"beta": beta}, **fields), tiny_model, tmp_path)
    assert (trainer.ref_model is not None) is held


@pytest.fixture(scope="module")
def trainer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A GRPO trainer with one batch of responses to the same prompt."""
    trainer = trainer_of(stage_with(Method.GRPO, {"beta": 0.1}), tiny_model, tmp_path_factory.mktemp("out"))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


@pytest.fixture(scope="module")
def responses(trainer: Any) -> Any:
    import torch

    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    return batch | {"advantages": torch.tensor([1.0, -1.0, 0.5, -0.5])}


@pytest.mark.parametrize("loss", list(GrpoLoss))
def test_loss(trainer: Any, responses: Any, loss: GrpoLoss) -> None:
    options = grpo.options(stage_with(Method.GRPO, {"loss": loss.value, "epsilonHigh": 0.3}))
    # One trainer for all: another config would reset the state of accelerate that this one is built on.
    trainer.loss_type, trainer.epsilon_high = options["loss_type"], options["epsilon_high"]
    trainer.importance_sampling_level = options.get("importance_sampling_level", "token")
    trainer.model.zero_grad()
    computed = trainer.compute_loss(trainer.model, responses)
    computed.backward()
    assert computed.isfinite()
    gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("method", [Method.GRPO, Method.RLOO])
def test_the_reward_rises(method: Method, tiny_model: Path, tmp_path: Path) -> None:
    rewards = [{"name": "letter", "format": {"pattern": ".*e.*"}}]
    member = {"generations": 8, "maxCompletionLength": 8, "rewards": rewards}
    training = TRAINING | {"globalBatchSize": 32, "microBatchSize": 32, "maxSteps": 30, "learningRate": 3e-3}
    training |= {"checkpoint": {"everySteps": 1000}}
    trainer = trainer_of(stage_with(method, member, training), tiny_model, tmp_path)
    trainer.train()
    means = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    assert len(means) == 30
    assert fmean(means[:5]) < 0.5
    assert fmean(means[-5:]) > 0.75
