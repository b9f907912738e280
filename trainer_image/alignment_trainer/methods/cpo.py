"""Contrastive preference optimization on TRL's experimental CPOTrainer."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage

from .. import trl_imports
from . import reference_free
from .inputs import TrainerInputs

OWNERS: Final = {
    "beta": "cpo.beta",
    "loss_type": "cpo.loss",
    "cpo_alpha": "cpo.sftWeight",
    "label_smoothing": "cpo.labelSmoothing",
    "max_length": "cpo.maxLength",
}
PEFT_TASK: Final = "CAUSAL_LM"
_REFUSED: Final = {"simpo_gamma": "is the margin of SimPO: remove it, or make this a simpo stage"}

config_class = trl_imports.cpo_config


def options(stage: Stage) -> dict[str, Any]:
    """CPOConfig options of the stage's ``cpo`` member."""
    if stage.cpo is None:
        raise ValueError(f"stage {stage.name} is not a cpo stage")
    cpo = stage.cpo
    return {
        "beta": cpo.beta,
        "loss_type": cpo.loss.value,
        "cpo_alpha": cpo.sft_weight,
        "label_smoothing": cpo.label_smoothing,
        "max_length": cpo.max_length,
    }


def check(stage: Stage, path: str) -> list[Problem]:
    """Refuse what belongs to SimPO, and what all methods without a reference model refuse."""
    return reference_free.check(stage, path, _REFUSED)


def make_trainer(inputs: TrainerInputs) -> Any:
    """The CPOTrainer."""
    return reference_free.make_trainer(trl_imports.cpo_trainer(), inputs)
