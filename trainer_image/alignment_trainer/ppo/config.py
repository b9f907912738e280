"""Options of PPO, as a TRL config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import trl_imports

_RLOOConfig: Any = trl_imports.rloo_config()


@dataclass
class PPOConfig(_RLOOConfig):  # type: ignore[misc]
    """TRL's RLOOConfig for one response to each prompt, with PPO's own options by the names of TRL's last PPOConfig.

    Inherited and of the same meaning: ``beta`` (weight of the KL penalty, the initial one if it is adaptive),
    ``epsilon`` and ``epsilon_high`` (clipping of the ratio), ``num_iterations`` (passes over a batch of responses),
    ``reward_clip_range``. What compares responses to one prompt is not there.

    Attributes:
        gamma: discount of later rewards.
        lam: lambda of generalized advantage estimation.
        cliprange_value: clipping of the change of values.
        vf_coef: weight of the value loss.
        whiten_rewards: whether rewards are scaled to unit variance.
        missing_eos_penalty: taken off the score of a response that does not end by itself.
        kl_target: KL that an adaptive weight steers at, in nats per response; None keeps the weight.
        kl_horizon: responses over which the weight adapts.
        share_backbone: whether values come from a head on the policy instead of a model of their own.
    """

    gamma: float = 1.0
    lam: float = 0.95
    cliprange_value: float = 0.2
    vf_coef: float = 0.1
    whiten_rewards: bool = False
    missing_eos_penalty: float | None = None
    kl_target: float | None = None
    kl_horizon: int = 10_000
    share_backbone: bool = False

    generation_batch_size: int | None = None
    steps_per_generation: int | None = None
    num_iterations: int = 4
    pad_to_multiple_of: int | None = None
    num_generations: int = field(default=1, init=False)
    normalize_advantages: bool = field(default=False, init=False)
    mask_truncated_completions: bool = field(default=False, init=False)
    sync_ref_model: bool = field(default=False, init=False)
    ref_model_mixup_alpha: float = field(default=0.6, init=False)
    ref_model_sync_steps: int = field(default=512, init=False)

    def __post_init__(self) -> None:
        # RLOOConfig's own step is left out: it refuses a single response to each prompt.
        super(_RLOOConfig, self).__post_init__()
        rows = self.per_device_train_batch_size * self.world_size
        if self.generation_batch_size is None:
            self.steps_per_generation = self.steps_per_generation or self.gradient_accumulation_steps
            self.generation_batch_size = rows * self.steps_per_generation
        elif self.generation_batch_size % rows:
            raise ValueError(
                f"generation_batch_size ({self.generation_batch_size}) must be divisible by the global batch size "
                f"({rows})"
            )
        else:
            self.steps_per_generation = self.generation_batch_size // rows
