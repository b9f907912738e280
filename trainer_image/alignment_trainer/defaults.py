"""Learning rates for stages that set none: good starts by method and by whether an adapter is trained."""

from __future__ import annotations

from typing import Final

from alignment_api.v1alpha1 import Method, Stage

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
_ADAPTER: Final = {
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


def learning_rate(stage: Stage) -> float:
    """Peak learning rate of ``stage``: its own, else the method's good start."""
    if stage.training.learning_rate is not None:
        return stage.training.learning_rate
    return (_ADAPTER if stage.adapter else _FULL)[stage.method]
