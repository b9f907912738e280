"""REINFORCE leave-one-out on TRL's RLOOTrainer.

The KL penalty is part of the reward. Its reference is, as for GRPO, a second copy of the model the stage starts from
or the base under the adapter, and is held only if `beta` is above 0.
"""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage

from .. import trl_imports
from . import online
from .inputs import TrainerInputs

OWNERS: Final = online.owners(
    "rloo",
    {
        **online.SYNC_OWNERS,
        "num_generations": "generations",
        "beta": "beta",
        "normalize_advantages": "normalizeAdvantages",
        "num_iterations": "iterations",
        "epsilon": "epsilon",
        "mask_truncated_completions": "maskTruncated",
    },
)
PEFT_TASK: Final = "CAUSAL_LM"

config_class = trl_imports.rloo_config


def options(stage: Stage) -> dict[str, Any]:
    """RLOOConfig options of the stage's ``rloo`` member."""
    if stage.rloo is None:
        raise ValueError(f"stage {stage.name} is not an rloo stage")
    rloo = stage.rloo
    return online.options(stage) | {
        "num_generations": rloo.generations,
        "beta": rloo.beta,
        "normalize_advantages": rloo.normalize_advantages,
        "num_iterations": rloo.iterations,
        "epsilon": rloo.epsilon,
        "mask_truncated_completions": rloo.mask_truncated,
    }


def check(stage: Stage, path: str) -> list[Problem]:
    """What all online methods check."""
    return online.check(stage, path)


def make_trainer(inputs: TrainerInputs) -> Any:
    """The RLOOTrainer on the stage's reward functions."""
    return online.make_trainer(trl_imports.rloo_trainer(), inputs)
