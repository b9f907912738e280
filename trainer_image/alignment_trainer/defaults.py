"""TRL options that nobody set: good starts by method and by kind of adapter. What the trainer prefers to TRL is here.

``trainerArgs`` overrides all of them; the learning rate has a field of its own.
"""

from __future__ import annotations

from typing import Any, Final

from alignment_api.v1alpha1 import Adapter, Method, Runtime, Stage

_FULL: Final = {
    Method.SFT: 2e-5,
    Method.REWARD: 1e-5,
    Method.DPO: 5e-7,
    Method.KTO: 5e-7,
    Method.ORPO: 5e-6,
    Method.CPO: 1e-6,
    Method.SIMPO: 6e-7,
    Method.GRPO: 1e-6,
    Method.RLOO: 1e-6,
    Method.PPO: 1e-6,
}
"""Peak learning rates for all weights."""

_LORA: Final = {
    Method.SFT: 2e-4,
    Method.REWARD: 1e-4,
    Method.DPO: 1e-5,
    Method.KTO: 1e-5,
    Method.ORPO: 5e-5,
    Method.CPO: 2e-5,
    Method.SIMPO: 1e-5,
    Method.GRPO: 1e-5,
    Method.RLOO: 1e-5,
    Method.PPO: 1e-5,
}
"""Peak learning rates for LoRA, whether or not the base is quantized."""

_DORA_FACTOR: Final = 0.5
"""DoRA's authors train at about half of LoRA's rate (arXiv:2402.09353, appendix)."""


def learning_rate(method: Method, adapter: Adapter | None) -> float:
    """Peak learning rate for a stage that sets none."""
    if adapter is None:
        return _FULL[method]
    return _LORA[method] * (_DORA_FACTOR if adapter.lora.dora else 1.0)


def options(stage: Stage, runtime: Runtime) -> dict[str, Any]:
    """Options of the method's TRL config for what the manifest leaves open.

    Args:
        stage: a training stage.
        runtime: the gang that runs it.
    """
    chosen: dict[str, Any] = {}
    if stage.training.learning_rate is None:
        chosen["learning_rate"] = learning_rate(stage.method, stage.adapter)
    if stage.method is not Method.SFT:
        # Policy and reference must give a response the same probability as long as their weights are equal, and a
        # sampled response the same in sampling and in training.
        chosen["disable_dropout"] = True
    if stage.adapter and stage.training.gradient_checkpointing and runtime.deepspeed.zero_stage == 3:
        # The other kind counts recomputed tensors, which ZeRO-3 has freed by then when the base is frozen. TRL sets
        # this under its former name, once transformers no longer looks there.
        chosen["activation_checkpointing_kwargs"] = {"use_reentrant": True}
    return chosen
