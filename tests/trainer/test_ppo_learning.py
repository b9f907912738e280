"""PPO learns: on held-out prompts its responses earn more than before, unless the rewards are dealt out at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import tiny
from .ppo_runs import make_trainer, share_of_vowels, vowels

PROMPTS = [row["prompt"] for row in tiny.preference_rows(320)]
TRAINED, HELD_OUT = PROMPTS[:192], PROMPTS[192:]
SIGNIFICANT = 2.61
"""Student's t at p = 0.01, two-sided, for the differences of the held-out prompts."""


def rewards_of(model: Any, tokenizer: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The reward of one response to each held-out prompt, drawn with the same seed for every model."""
    tokenizer.padding_side = "left"
    inputs = tokenizer.apply_chat_template(
        HELD_OUT, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    torch.manual_seed(0)
    output = model.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=8)
    texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return np.array(share_of_vowels(texts))


def shuffled_vowels() -> Callable[..., list[float]]:
    """The same rewards, each given to another response."""
    generator = random.Random(7)

    def reward(completions: Sequence[Any], **_: Any) -> list[float]:
        rewards = vowels(completions)
        generator.shuffle(rewards)
        return rewards

    return reward


def paired_t(model: Path, output: Path, reward: Callable[..., list[float]]) -> float:
    """Train on ``reward``; the t statistic of what the held-out prompts' responses earn more than before."""
    from transformers import AutoModelForCausalLM

    trainer = make_trainer(
        model, output, reward=reward, rows=[{"prompt": prompt} for prompt in TRAINED],
        per_device_train_batch_size=32, generation_batch_size=32, num_iterations=4, max_steps=80, logging_steps=20,
        max_completion_length=8, learning_rate=3e-3, beta=0.02,
    )  # fmt: skip
    before = rewards_of(AutoModelForCausalLM.from_pretrained(model), trainer.processing_class)
    trainer.train()
    trainer.save_model(str(output))
    gained = rewards_of(AutoModelForCausalLM.from_pretrained(output), trainer.processing_class) - before
    return float(gained.mean() / (gained.std(ddof=1) / np.sqrt(len(gained))))


def test_rewards_are_learnt(tiny_model: Path, tmp_path: Path) -> None:
    assert paired_t(tiny_model, tmp_path, vowels) > 2 * SIGNIFICANT


def test_rewards_dealt_out_at_random_are_not(tiny_model: Path, tmp_path: Path) -> None:
    assert abs(paired_t(tiny_model, tmp_path, shuffled_vowels())) < SIGNIFICANT
