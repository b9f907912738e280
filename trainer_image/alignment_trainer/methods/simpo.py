"""Simple preference optimization: a loss of TRL's experimental CPOTrainer."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage

from .. import trl_imports
from . import reference_free
from .inputs import TrainerInputs

OWNERS: Final = {
    "beta": "simpo.beta",
    "simpo_gamma": "simpo.gamma",
    "cpo_alpha": "simpo.sftWeight",
    "max_length": "simpo.maxLength",
}
PEFT_TASK: Final = "CAUSAL_LM"
_REFUSED: Final = {
    "loss_type": "is what makes CPO's trainer one of SimPO: remove it, or make this a cpo stage with cpo.loss"
}

config_class = trl_imports.cpo_config


def options(stage: Stage) -> dict[str, Any]:
    """CPOConfig options of the stage's ``simpo`` member.

    TRL divides gamma by beta and multiplies the difference by beta: gamma is the paper's margin itself (eq. 6 of
    arXiv:2405.14734).
    """
    if stage.simpo is None:
        raise ValueError(f"stage {stage.name} is not a simpo stage")
    simpo = stage.simpo
    return {
        "loss_type": "simpo",
        "beta": simpo.beta,
        "simpo_gamma": simpo.gamma,
        "cpo_alpha": simpo.sft_weight,
        "max_length": simpo.max_length,
    }


def check(stage: Stage, path: str) -> list[Problem]:
    """Refuse what belongs to other losses, and what all methods without a reference model refuse."""
    return reference_free.check(stage, path, _REFUSED)


def make_trainer(inputs: TrainerInputs) -> Any:
    """The CPOTrainer with the loss ``simpo``."""
    return reference_free.make_trainer(trl_imports.cpo_trainer(), inputs)
