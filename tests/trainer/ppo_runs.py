"""PPO in this process, on a tiny model whose responses end after different numbers of tokens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import tiny

ROWS = [{"prompt": row["prompt"]} for row in tiny.preference_rows(24)]
RESPONSES = 8
"""Responses of a batch."""


def share_of_vowels(texts: Sequence[str]) -> list[float]:
    """A reward that a model which knows nothing can raise: vowels in the response, of its characters."""
    return [sum(text.count(vowel) for vowel in "aeiou") / max(len(text), 1) for text in texts]


def vowels(completions: Sequence[Any], **_: Any) -> list[float]:
    """`share_of_vowels` as TRL calls it."""
    return share_of_vowels([completion[0]["content"] for completion in completions])


def model_that_stops(model: Path, folder: Path, stop_tokens: int = 40) -> Path:
    """A copy of ``model`` for which every eighth token ends a response."""
    shutil.copytree(model, folder)
    path = folder / "generation_config.json"
    config = json.loads(path.read_text())
    config["eos_token_id"] = [config["eos_token_id"], *range(60, 60 + stop_tokens)]
    path.write_text(json.dumps(config))
    return folder


def make_trainer(
    model: Path,
    output: Path,
    *,
    reward: Callable[..., list[float | None]] | Callable[..., list[float]] = vowels,
    value_model: Path | None = None,
    lora: bool = False,
    rows: Sequence[dict[str, Any]] = ROWS,
    **options: Any,
) -> Any:
    """A resumable PPOTrainer in one process.

    Args:
        model: what policy, reference and, if nothing else is named, values start from.
        output: folder for checkpoints.
        reward: the reward function.
        value_model: what values start from.
        lora: whether an adapter is trained.
        rows: prompts.
        options: changes to the PPOConfig.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer

    from alignment_trainer.methods.rollouts import resumable
    from alignment_trainer.ppo.config import PPOConfig
    from alignment_trainer.ppo.trainer import PPOTrainer

    config: dict[str, Any] = {
        "output_dir": str(output),
        "per_device_train_batch_size": RESPONSES,
        "generation_batch_size": RESPONSES,
        "max_completion_length": 12,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "num_iterations": 1,
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_dropout": True,
        "disable_tqdm": True,
    }
    adapter = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
    return resumable(PPOTrainer)(
        model=str(model),
        args=PPOConfig(**config | options),
        processing_class=AutoTokenizer.from_pretrained(model),
        train_dataset=Dataset.from_list(list(rows)),
        reward_funcs=[reward],
        peft_config=adapter,
        value_model=str(value_model) if value_model else None,
    )


def steps(trainer: Any) -> list[dict[str, float]]:
    """What was logged of each optimizer step."""
    return [entry for entry in trainer.state.log_history if "loss" in entry]
