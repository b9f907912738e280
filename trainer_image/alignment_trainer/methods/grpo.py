"""Group-relative policy optimization on TRL's GRPOTrainer.

A reference model is held only for a KL penalty (`beta` above 0) on all weights: TRL then loads the model the stage
starts from a second time. An adapter is switched off instead.
"""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods.grpo import Grpo, GrpoLoss

from .. import trl_imports
from . import online
from .inputs import TrainerInputs

OWNERS: Final = online.owners(
    "grpo",
    {
        **online.SYNC_OWNERS,
        "num_generations": "generations",
        "beta": "beta",
        "loss_type": "loss",
        "scale_rewards": "scaleRewards",
        "num_iterations": "iterations",
        "epsilon": "epsilon",
        "epsilon_high": "epsilonHigh",
        "mask_truncated_completions": "maskTruncated",
    },
)
PEFT_TASK: Final = "CAUSAL_LM"

_CISPO_EPSILON_HIGH: Final = 5.0
"""CISPO's only bound on the importance weight; TRL would take `epsilon`, which its authors do not use
(arXiv:2506.13585), for it. The value is that of ScaleRL (arXiv:2510.13786)."""

config_class = trl_imports.grpo_config


def options(stage: Stage) -> dict[str, Any]:
    """GRPOConfig options of the stage's ``grpo`` member."""
    if stage.grpo is None:
        raise ValueError(f"stage {stage.name} is not a grpo stage")
    grpo = stage.grpo
    chosen = online.options(stage) | {
        "num_generations": grpo.generations,
        "beta": grpo.beta,
        "loss_type": grpo.loss.value,
        "scale_rewards": grpo.scale_rewards.value,
        "num_iterations": grpo.iterations,
        "epsilon": grpo.epsilon,
        "epsilon_high": _epsilon_high(grpo),
        "mask_truncated_completions": grpo.mask_truncated,
    }
    if grpo.loss is GrpoLoss.LUSPO:  # defined for the probability ratios of whole responses (arXiv:2602.05261)
        chosen["importance_sampling_level"] = "sequence"
    return chosen


def check(stage: Stage, path: str) -> list[Problem]:
    """What all online methods check."""
    return online.check(stage, path)


def make_trainer(inputs: TrainerInputs) -> Any:
    """The GRPOTrainer on the stage's reward functions."""
    return online.make_trainer(trl_imports.grpo_trainer(), inputs)


def _epsilon_high(grpo: Grpo) -> float | None:
    if grpo.epsilon_high is None and grpo.loss is GrpoLoss.CISPO:
        return _CISPO_EPSILON_HIGH
    return grpo.epsilon_high
