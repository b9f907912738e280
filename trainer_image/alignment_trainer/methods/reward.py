"""Reward modelling on TRL's RewardTrainer: a sequence classifier with one output, trained on preference pairs."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage

from .. import trl_imports
from .inputs import TrainerInputs

OWNERS: Final = {
    "max_length": "reward.maxLength",
    "center_rewards_coefficient": "reward.centerRewardsCoefficient",
}
PEFT_TASK: Final = "SEQ_CLS"  # also trains the new score head beside the adapter

config_class = trl_imports.reward_config


def options(stage: Stage) -> dict[str, Any]:
    """RewardConfig options of the stage's ``reward`` member."""
    if stage.reward is None:
        raise ValueError(f"stage {stage.name} is not a reward stage")
    return {
        "max_length": stage.reward.max_length,
        "center_rewards_coefficient": stage.reward.center_rewards_coefficient,
        "disable_dropout": True,
    }


def check(stage: Stage, path: str) -> list[Problem]:
    """Nothing beyond what the API and TRL check."""
    return []


def make_trainer(inputs: TrainerInputs) -> Any:
    """The RewardTrainer; TRL loads the model with a score head of one output."""
    return trl_imports.reward_trainer()(**inputs.keyword_arguments())
