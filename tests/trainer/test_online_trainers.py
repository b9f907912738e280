"""What the trainers hold in memory, that every loss of the API reaches TRL's computation, and that they learn."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from alignment_api.v1alpha1 import Method, Stage
from alignment_api.v1alpha1.methods.grpo import GrpoLoss
from alignment_trainer.methods import grpo

from .conftest import TRAINING, stage_of
from .in_process import make_trainer
from .plain_rewards import REWARDS, prompt_rows

ONLINE: dict[str, Any] = {"generations": 4, "maxCompletionLength": 12, "rewards": REWARDS}
FOUR_RESPONSES = {"globalBatchSize": 4, "microBatchSize": 4}


@pytest.mark.parametrize("method", [Method.GRPO, Method.RLOO])
@pytest.mark.parametrize(
    ("beta", "fields", "held"),
    [(0.0, {}, False), (0.1, {}, True), (0.1, {"adapter": {}}, False)],
    ids=["no-penalty", "penalty", "penalty-with-adapter"],
)
def test_a_reference_is_held_only_for_a_penalty_on_all_weights(
    method: Method, beta: float, fields: dict[str, Any], held: bool, tiny_model: Path, tmp_path: Path
) -> None:
    fields = {"training": FOUR_RESPONSES, method.value: ONLINE | {"beta": beta}} | fields
    trainer = make_trainer(method, prompt_rows(4), tiny_model, tmp_path, **fields)
    assert (trainer.ref_model is not None) is held


@pytest.fixture(scope="module")
def trainer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A GRPO trainer with one batch of responses to the same prompt."""
    folder, member = tmp_path_factory.mktemp("out"), ONLINE | {"beta": 0.1}
    trainer = make_trainer(Method.GRPO, prompt_rows(4), tiny_model, folder, training=FOUR_RESPONSES, grpo=member)
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
    stage = stage_of(Method.GRPO, grpo=ONLINE | {"loss": loss.value, "epsilonHigh": 0.3})
    options = grpo.options(Stage.model_validate(stage))
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
    fields: dict[str, Any] = {"training": training, method.value: member}
    trainer = make_trainer(method, prompt_rows(4), tiny_model, tmp_path, **fields)
    trainer.train()
    means = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    assert len(means) == 30
    assert fmean(means[:5]) < 0.5
    assert fmean(means[-5:]) > 0.75
