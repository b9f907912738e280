"""What theory says about the first step, held against TRL's own computation."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alignment_api.contract import AttemptLayout
from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_api.v1alpha1.methods import DpoLossType
from alignment_trainer.device import Accelerator, Device
from alignment_trainer.guard import start
from alignment_trainer.methods import dpo
from alignment_trainer.methods.inputs import TrainerInputs
from alignment_trainer.registry import build_config

from . import tiny
from .conftest import stage_of

ONE_PROCESS = Runtime.model_validate({"deepspeed": {"zeroStage": 0}})
CPU = Device(Accelerator.CPU, 1)
VOCABULARY = 320


def parsed(method: Method, **member: Any) -> Stage:
    return Stage.model_validate(stage_of(method, **{method.value: member}))


def unexpected(method: Method, values: dict[str, float], **member: Any) -> str:
    """What is wrong with the first report of a stage, on a CPU; empty if nothing is."""
    stage = parsed(method, **member)
    config = build_config(stage, ONE_PROCESS, output_dir=Path("."), device=CPU, evaluates=False)
    finding = start.unexpected(start.expectations(stage, config, VOCABULARY), 1, values)
    return finding.message if finding else ""


@pytest.fixture(scope="module")
def trainer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer

    stage, output = parsed(Method.DPO), tmp_path_factory.mktemp("out")
    return dpo.make_trainer(
        TrainerInputs(
            stage=stage,
            config=build_config(stage, ONE_PROCESS, output_dir=output, device=CPU, evaluates=False),
            model=str(tiny_model),
            tokenizer=AutoTokenizer.from_pretrained(str(tiny_model)),
            train_dataset=Dataset.from_list(tiny.preference_rows(4)),
            attempt=AttemptLayout(output),
            device="cpu",
        )
    )


@pytest.mark.parametrize("loss", [loss.value for loss in DpoLossType if loss is not DpoLossType.SFT])
def test_dpo_losses_start_where_trl_computes_them(trainer: Any, loss: str) -> None:
    batch = next(iter(trainer.get_train_dataloader()))
    for beta, smoothing in ((0.1, 0.1), (0.5, 0.01)):
        trainer.beta, trainer.label_smoothing, trainer.loss_types, trainer.loss_weights = beta, smoothing, [loss], [1.0]
        expected = start.dpo_loss_at_zero(loss, beta, smoothing, trainer.args.discopop_tau)
        assert expected is not None
        assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(expected.value, rel=1e-5)


ZERO = {"rewards/chosen": 0.0, "rewards/rejected": 0.0}
MIXED: dict[str, Any] = {"loss": [{"type": "sigmoid"}, {"type": "sft", "weight": 0.5}]}
IPO: dict[str, Any] = {"loss": [{"type": "ipo", "weight": 2.0}], "beta": 0.5}
OTHER: dict[str, Any] = {"reference": {"fromStage": "sft"}}
WEIGHTS: dict[str, Any] = {"desirableWeight": 1.0, "undesirableWeight": 3.0}


@pytest.mark.parametrize(
    ("method", "member", "good", "bad", "metric"),
    [
        (Method.SFT, {}, {"loss": math.log(VOCABULARY)}, {"loss": 9.0}, "loss"),
        (Method.REWARD, {}, {"loss": 1.5}, {"loss": 11.0}, "loss"),
        (Method.DPO, {}, ZERO | {"loss": math.log(2)}, ZERO | {"rewards/chosen": -0.02}, "rewards/chosen"),
        (Method.DPO, {}, ZERO, ZERO | {"loss": 0.72}, "loss"),
        (Method.DPO, MIXED, ZERO | {"loss": 0.69 + 0.5 * 5.7}, ZERO | {"loss": 6.0}, "loss"),
        (Method.DPO, IPO, ZERO | {"loss": 2.0}, ZERO | {"loss": 1.0}, "loss"),
        (Method.KTO, {}, ZERO | {"kl": 0.0, "loss": 0.5}, {"kl": 0.2}, "kl"),
        (Method.KTO, WEIGHTS, {"loss": 1.4}, {"loss": 1.6}, "loss"),
        (Method.KTO, {}, {"kl": 0.05}, {"rewards/rejected": 0.02}, "rewards/rejected"),
        (Method.ORPO, {}, {"nll_loss": 5.7, "loss": 6.0}, {"nll_loss": 9.0}, "nll_loss"),
        (Method.CPO, {}, {"nll_loss": 5.7, "logps/chosen": -300.0}, {"nll_loss": 9.0}, "nll_loss"),
        (Method.SIMPO, {}, {"nll_loss": 0.0, "logps/chosen": -5.7}, {"logps/chosen": -9.0}, "logps/chosen"),
    ],
)
def test_the_first_report(
    method: Method, member: dict[str, Any], good: dict[str, float], bad: dict[str, float], metric: str
) -> None:
    assert unexpected(method, good, **member) == ""
    assert unexpected(method, bad, **member).startswith(f"{metric} is {bad[metric]:.4g} at step 1")


@pytest.mark.parametrize(
    ("method", "metrics"),
    [
        (Method.GRPO, ["kl", "clip_ratio/region_mean"]),
        (Method.RLOO, ["kl", "clip_ratio/region_mean"]),
        (Method.PPO, ["objective/kl", "policy/clipfrac_avg", "loss/policy_avg"]),
    ],
)
def test_the_first_report_of_online_methods(method: Method, metrics: list[str]) -> None:
    config = SimpleNamespace(bf16=False)
    expected = start.expectations(parsed(method, rewards=[{"name": "n", "length": {"maxTokens": 8}}]), config, 320)
    assert start.unexpected(expected, 1, dict.fromkeys(metrics, 0.0)) is None
    for metric in metrics:
        finding = start.unexpected(expected, 1, {metric: 0.2})
        assert finding is not None
        assert finding.message.startswith(f"{metric} is 0.2")


@pytest.mark.parametrize("method", [Method.DPO, Method.KTO])
def test_a_named_reference_may_be_any_distance_away(method: Method) -> None:
    assert unexpected(method, {"rewards/chosen": -40.0, "kl": 90.0, "loss": 9.0}, **OTHER) == ""


def test_bfloat16_has_more_room() -> None:
    stage = parsed(Method.DPO)
    shared = {"loss_type": ["sigmoid"], "loss_weights": None, "label_smoothing": 0.0, "discopop_tau": 0.05}
    config = SimpleNamespace(bf16=True, beta=0.1, use_weighting=False, **shared)
    expected = start.expectations(stage, config, VOCABULARY)
    assert start.unexpected(expected, 1, {"rewards/chosen": 0.15, "loss": 0.75}) is None
    assert start.unexpected(expected, 1, {"rewards/chosen": 0.25}) is not None
