"""Direct preference optimization on TRL's DPOTrainer.

The reference is the model the stage starts from: TRL loads it a second time, or switches the adapter off when one is
trained, or (`precomputeReference`) computes its log-probabilities once before the first step.
"""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods.dpo import Dpo, DpoLossType

from .. import trl_imports
from .inputs import TrainerInputs

OWNERS: Final = {
    "beta": "dpo.beta",
    "loss_type": "dpo.loss",
    "loss_weights": "dpo.loss",
    "label_smoothing": "dpo.labelSmoothing",
    "max_length": "dpo.maxLength",
    "precompute_ref_log_probs": "dpo.precomputeReference",
}
PEFT_TASK: Final = "CAUSAL_LM"

_SMOOTHED: Final = (DpoLossType.ROBUST, DpoLossType.EXO_PAIR, DpoLossType.AOT, DpoLossType.AOT_UNPAIRED)
"""Losses of TRL that take label smoothing into account."""

_EXO_LABEL_SMOOTHING: Final = 1e-3
"""EXO needs a positive label smoothing; the paper's value (arXiv:2402.00856)."""

config_class = trl_imports.dpo_config


def options(stage: Stage) -> dict[str, Any]:
    """DPOConfig options of the stage's ``dpo`` member."""
    if stage.dpo is None:
        raise ValueError(f"stage {stage.name} is not a dpo stage")
    dpo = stage.dpo
    return {
        "beta": dpo.beta,
        "loss_type": [term.type.value for term in dpo.loss],
        "loss_weights": [term.weight for term in dpo.loss],
        "label_smoothing": _label_smoothing(dpo),
        "max_length": dpo.max_length,
        "precompute_ref_log_probs": dpo.precompute_reference,
        "disable_dropout": True,
    }


def check(stage: Stage, path: str) -> list[Problem]:
    """Refuse a label smoothing that no term of the loss heeds."""
    if stage.dpo is None or stage.dpo.label_smoothing == 0:
        return []
    if any(term.type in _SMOOTHED for term in stage.dpo.loss):
        return []
    message = (
        f"{stage.dpo.label_smoothing} has no effect on the losses {', '.join(term.type for term in stage.dpo.loss)}: "
        f"use one of {', '.join(_SMOOTHED)}, or remove it"
    )
    return [Problem(field=f"{path}.dpo.labelSmoothing", message=message)]


def make_trainer(inputs: TrainerInputs) -> Any:
    """The DPOTrainer with TRL's own choice of reference."""
    return trl_imports.dpo_trainer()(**inputs.keyword_arguments())


def _label_smoothing(dpo: Dpo) -> float:
    if dpo.label_smoothing == 0 and any(term.type is DpoLossType.EXO_PAIR for term in dpo.loss):
        return _EXO_LABEL_SMOOTHING
    return dpo.label_smoothing
