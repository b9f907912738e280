"""Proximal policy optimization, on the trainer in `alignment_trainer.ppo`: TRL has none any more.

The reference of the KL penalty is a second copy of the model the stage starts from, or the base under the adapter.
Values come from a model of their own (with the policy's kind of adapter, if it has one, under a head that is trained
whole) or from a head on the policy's backbone. They are kept in checkpoints; the stage's model is the policy alone.
"""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage

from ..models.compatibility import VALUES
from . import online
from .inputs import TrainerInputs

OWNERS: Final = online.owners(
    "ppo",
    {
        "beta": "klCoefficient",
        "kl_target": "adaptiveKl.target",
        "kl_horizon": "adaptiveKl.horizon",
        "gamma": "discount",
        "lam": "gaeLambda",
        "epsilon": "clipRange",
        "cliprange_value": "valueClipRange",
        "vf_coef": "valueCoefficient",
        "num_iterations": "iterations",
        "whiten_rewards": "whitenRewards",
        "missing_eos_penalty": "missingEosPenalty",
        "share_backbone": "value.sharedBackbone",
    },
)
PEFT_TASK: Final = "CAUSAL_LM"


def config_class() -> type[Any]:
    """The PPOConfig."""
    from ..ppo.config import PPOConfig

    return PPOConfig


def options(stage: Stage) -> dict[str, Any]:
    """PPOConfig options of the stage's ``ppo`` member."""
    if stage.ppo is None:
        raise ValueError(f"stage {stage.name} is not a ppo stage")
    ppo = stage.ppo
    chosen = online.options(stage) | {
        "beta": ppo.kl_coefficient,
        "gamma": ppo.discount,
        "lam": ppo.gae_lambda,
        "epsilon": ppo.clip_range,
        "cliprange_value": ppo.value_clip_range,
        "vf_coef": ppo.value_coefficient,
        "num_iterations": ppo.iterations,
        "whiten_rewards": ppo.whiten_rewards,
        "missing_eos_penalty": ppo.missing_eos_penalty,
        "share_backbone": ppo.value.shared_backbone,
    }
    if ppo.adaptive_kl is not None:
        chosen |= {"kl_target": ppo.adaptive_kl.target, "kl_horizon": ppo.adaptive_kl.horizon}
    return chosen


def check(stage: Stage, path: str) -> list[Problem]:
    """What all online methods check, and what only TRL's own trainers can do."""
    problems = online.check(stage, path)
    if (stage.trainer_args or {}).get("use_vllm"):
        field = f"{path}.trainerArgs.use_vllm"
        message = "vLLM would be sent the value model with the policy; PPO generates without it: remove this option"
        # Whether the image has vLLM does not matter here.
        problems = [problem for problem in problems if problem.field != field] + [Problem(field=field, message=message)]
    return problems


def make_trainer(inputs: TrainerInputs) -> Any:
    """The PPOTrainer on the stage's reward functions."""
    from ..ppo.trainer import PPOTrainer

    return online.make_trainer(PPOTrainer, inputs, value_model=inputs.models.get(VALUES))
