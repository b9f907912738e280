"""The only place that names TRL's paths. Each function imports one class and no more: imports cost seconds."""

from __future__ import annotations

from typing import Any


def sft_config() -> type[Any]:
    """TRL's ``SFTConfig``."""
    from trl.trainer.sft_config import SFTConfig

    return SFTConfig  # type: ignore[no-any-return]


def sft_trainer() -> type[Any]:
    """TRL's ``SFTTrainer``."""
    from trl.trainer.sft_trainer import SFTTrainer

    return SFTTrainer  # type: ignore[no-any-return]


def reward_config() -> type[Any]:
    """TRL's ``RewardConfig``."""
    from trl.trainer.reward_config import RewardConfig

    return RewardConfig  # type: ignore[no-any-return]


def reward_trainer() -> type[Any]:
    """TRL's ``RewardTrainer``."""
    from trl.trainer.reward_trainer import RewardTrainer

    return RewardTrainer  # type: ignore[no-any-return]


def dpo_config() -> type[Any]:
    """TRL's ``DPOConfig``."""
    from trl.trainer.dpo_config import DPOConfig

    return DPOConfig  # type: ignore[no-any-return]


def dpo_trainer() -> type[Any]:
    """TRL's ``DPOTrainer``."""
    from trl.trainer.dpo_trainer import DPOTrainer

    return DPOTrainer  # type: ignore[no-any-return]


def trained_tokens(trainer: Any) -> int:
    """Tokens the trainer has counted over all processes."""
    return int(trainer._total_train_tokens)


def set_trained_tokens(trainer: Any, tokens: int) -> None:
    """Let the trainer's token count go on from ``tokens``; TRL itself starts at 0 when it resumes."""
    trainer._total_train_tokens = tokens
