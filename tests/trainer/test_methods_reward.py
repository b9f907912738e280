"""Reward modelling by the real command line, and what margins and centring do to its loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_api.v1alpha1 import Method

from . import tiny
from .conftest import Workspace, workspace_in
from .in_process import make_trainer
from .method_checks import PLAIN, check_finished, check_resumed, check_same_metrics
from .method_runs import LORA, StageRun, cut_off_and_resume, plain_history, run_stage

ROWS = [row | {"margin": 0.25 * (number % 4)} for number, row in enumerate(tiny.preference_rows(32))]
HELD_OUT = [dict(row) for row in tiny.preference_rows(4)]


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("reward"), tiny_model) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def reward(volume: Workspace) -> StageRun:
    options = {"centerRewardsCoefficient": 0.01}
    return run_stage(volume, Method.REWARD, ROWS, held_out=HELD_OUT, reward=options)


def test_equals_a_plain_trl_script(reward: StageRun, tmp_path: Path) -> None:
    check_finished(reward)
    plain = plain_history(reward, {"center_rewards_coefficient": 0.01}, tmp_path)
    check_same_metrics(reward.history, plain, rel=PLAIN)


def test_resumed_equals_uninterrupted(reward: StageRun) -> None:
    scores_as_evaluated(reward)
    check_resumed(reward, cut_off_and_resume(reward))


def test_an_adapter_and_its_score_head_are_merged(volume: Workspace) -> None:
    run = run_stage(volume, Method.REWARD, ROWS, name="lora", held_out=HELD_OUT, adapter=LORA)
    check_finished(run)
    scores_as_evaluated(run)


def scores_as_evaluated(run: StageRun) -> None:
    """The exported model, loaded by transformers, gives a padded batch the rewards of the last evaluation."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(run.model)
    tokenizer = AutoTokenizer.from_pretrained(run.model)
    assert model.config.num_labels == 1
    conversations = [row["prompt"] + row[side] for row in HELD_OUT for side in ("chosen", "rejected")]
    batch = tokenizer.apply_chat_template(
        conversations, padding=True, padding_side="right", return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        scores = model(**batch).logits[:, 0]
    assert run.summary.progress is not None
    metrics = run.summary.progress.metrics
    assert scores.mean().item() == pytest.approx(metrics["eval_mean_reward"], rel=1e-4, abs=1e-5)
    assert (scores[0::2] - scores[1::2]).mean().item() == pytest.approx(metrics["eval_margin"], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("coefficient", [None, 0.5])
@pytest.mark.parametrize("with_margin", [False, True])
def test_the_loss_of_a_batch(tiny_model: Path, tmp_path: Path, with_margin: bool, coefficient: float | None) -> None:
    """-log sigmoid(r_chosen - r_rejected - margin) (arXiv:2307.09288, eq. 2), plus c (r_chosen + r_rejected)^2."""
    import torch

    options: dict[str, Any] = {"centerRewardsCoefficient": coefficient} if coefficient else {}
    rows = [row | {"margin": 1.0 + number} for number, row in enumerate(HELD_OUT)] if with_margin else HELD_OUT
    trainer = make_trainer(Method.REWARD, rows, tiny_model, tmp_path, reward=options)
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, batch)
        scores = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
    chosen, rejected = scores.chunk(2)
    assert ("margin" in batch) is with_margin
    expected = -torch.nn.functional.logsigmoid(chosen - rejected - batch.get("margin", 0)).mean()
    if coefficient:
        expected = expected + coefficient * ((chosen + rejected) ** 2).mean()
    torch.testing.assert_close(loss, expected)
