"""Reward models as rewards: the same scores as the plain classifier, also beside a training with ZeRO-3."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.integrations import deepspeed

from alignment_trainer.exceptions import FunctionError
from alignment_trainer.models.unpartitioned import unpartitioned

from .reward_terms import PROMPT, call, reward
from .test_evaluation_run import save_reward_model

TERM = {"rewardModel": {"volume": {"path": "models/scorer"}}}
TEXTS = ["72", "I think that it is a rather large number", "", "a kind answer", "seventy-two, for six times twelve"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_reward_model(tmp_path)
    return tmp_path


def plain_scores(folder: Path) -> list[float]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    scores = []
    for text in TEXTS:
        messages = [
            {"role": "system", "content": "Be right."},
            {"role": "user", "content": PROMPT},
            {"role": "assistant", "content": text},
        ]
        ids = tokenizer.apply_chat_template(messages, return_dict=True, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            scores.append(model(input_ids=ids).logits.item())
    return scores


def test_scores_are_those_of_the_plain_classifier(folder: Path) -> None:
    with reward(TERM, models={"grpo.rewards[0].rewardModel": str(folder)}) as function:
        scores = call(function, TEXTS)
    assert scores == pytest.approx(plain_scores(folder), abs=1e-5)
    assert len(set(scores)) == len(TEXTS)


def test_a_diverged_model_is_a_failure_of_the_reward(folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    torch.nn.init.constant_(model.score.weight, float("nan"))
    model.save_pretrained(folder)
    with (
        reward(TERM, models={"grpo.rewards[0].rewardModel": str(folder)}) as function,
        pytest.raises(FunctionError, match="its training has diverged") as caught,
    ):
        call(function, TEXTS)
    assert caught.value.problems[0].field == "spec.stages[0].grpo.rewards[0].rewardModel"


def test_beside_zero_3_nothing_is_partitioned_and_the_configuration_comes_back() -> None:
    configuration = deepspeed.HfDeepSpeedConfig({"zero_optimization": {"stage": 3}, "train_batch_size": 1})
    try:
        assert deepspeed.is_deepspeed_zero3_enabled()
        with unpartitioned():
            assert not deepspeed.is_deepspeed_zero3_enabled()
        assert deepspeed.is_deepspeed_zero3_enabled()
    finally:
        deepspeed.unset_hf_deepspeed_config()
    assert configuration.is_zero3()
    with unpartitioned():
        pass
    assert not deepspeed.is_deepspeed_zero3_enabled()
