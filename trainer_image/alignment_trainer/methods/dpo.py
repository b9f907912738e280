"""Direct preference optimization on TRL's DPOTrainer.

Unless ``reference`` names another model, the reference is the model the stage starts from: TRL loads it a second time,
or switches the adapter off when one is trained, or (``precomputeReference``) computes its log-probabilities once before
the first step. A reference that is named is loaded beside the policy, with an adapter too; ``precomputeReference`` lets
go of it before the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods.dpo import Dpo, DpoLossType, FDivergenceType

from .. import trl_imports
from .inputs import TrainerInputs
from .truncation import TRUNCATION_MODES

OWNERS: Final = {
    "beta": "dpo.beta",
    "loss_type": "dpo.loss",
    "loss_weights": "dpo.loss",
    "label_smoothing": "dpo.labelSmoothing",
    "f_divergence_type": "dpo.divergence.type",
    "f_alpha_divergence_coef": "dpo.divergence.alpha",
    "ld_alpha": "dpo.lengthDesensitization",
    "max_length": "dpo.maxLength",
    "truncation_mode": "dpo.truncation",
    "precompute_ref_log_probs": "dpo.precomputeReference",
    "sync_ref_model": "dpo.syncReference",
    "ref_model_sync_steps": "dpo.syncReference.everySteps",
    "ref_model_mixup_alpha": "dpo.syncReference.mixup",
}
PEFT_TASK: Final = "CAUSAL_LM"
REFERENCE: Final = "dpo.reference"

_SMOOTHED: Final = (DpoLossType.ROBUST, DpoLossType.EXO_PAIR, DpoLossType.AOT, DpoLossType.AOT_UNPAIRED)
"""Losses of TRL that take label smoothing into account."""

_SORTED: Final = (DpoLossType.AOT, DpoLossType.AOT_UNPAIRED)
"""Losses that compare the sorted rows of a micro batch."""

_OF_THE_DIFFERENCE: Final = (
    DpoLossType.SIGMOID,
    DpoLossType.SIGMOID_NORM,
    DpoLossType.HINGE,
    DpoLossType.IPO,
    DpoLossType.EXO_PAIR,
    DpoLossType.ROBUST,
    DpoLossType.DISCOPOP,
    DpoLossType.SFT,
)
"""Losses of the difference of chosen and rejected alone, in which the unknown term of other divergences cancels."""

_DIVERGENCES: Final = {
    FDivergenceType.REVERSE_KL: "reverse_kl",
    FDivergenceType.FORWARD_KL: "forward_kl",
    FDivergenceType.JS_DIVERGENCE: "js_divergence",
    FDivergenceType.ALPHA_DIVERGENCE: "alpha_divergence",
}

_EXO_LABEL_SMOOTHING: Final = 1e-3
"""EXO needs a positive label smoothing; the paper's value (arXiv:2402.00856)."""

config_class = trl_imports.dpo_config


def options(stage: Stage) -> dict[str, Any]:
    """DPOConfig options of the stage's ``dpo`` member."""
    dpo = _member(stage)
    options: dict[str, Any] = {
        "beta": dpo.beta,
        "loss_type": [term.type.value for term in dpo.loss],
        "loss_weights": [term.weight for term in dpo.loss],
        "label_smoothing": _label_smoothing(dpo),
        "f_divergence_type": _DIVERGENCES[dpo.divergence.type],
        "f_alpha_divergence_coef": dpo.divergence.alpha,
        "ld_alpha": dpo.length_desensitization,
        "max_length": dpo.max_length,
        "truncation_mode": TRUNCATION_MODES[dpo.truncation],
        "precompute_ref_log_probs": dpo.precompute_reference,
    }
    if dpo.sync_reference is not None:
        options["sync_ref_model"] = True
        options["ref_model_sync_steps"] = dpo.sync_reference.every_steps
        options["ref_model_mixup_alpha"] = dpo.sync_reference.mixup
    return options


def check(stage: Stage, path: str) -> list[Problem]:
    """What TRL would only refuse once the gang runs, and what would have no effect."""
    return [Problem(field=f"{path}.{field}", message=message) for field, message in _refusals(stage)]


def make_trainer(inputs: TrainerInputs) -> Any:
    """The DPOTrainer with the reference that the stage names, or TRL's own choice."""
    from . import reference

    dpo, arguments = _member(inputs.stage), inputs.keyword_arguments()
    sync = dpo.sync_reference
    arguments["ref_model"] = reference.load(inputs, REFERENCE, follows_the_policy=sync is not None)
    if sync is None:
        trainer = trl_imports.dpo_trainer()(**arguments)
        if dpo.precompute_reference:
            reference.let_go(trainer)
        return trainer
    following = reference.FollowingReference(sync.every_steps, sync.mixup)
    arguments["callbacks"] = [following, *inputs.callbacks]
    trainer = trl_imports.dpo_trainer()(**arguments)
    trainer.remove_callback(trl_imports.sync_ref_model_callback())
    following.trainer = trainer
    return trainer


def _refusals(stage: Stage) -> Iterator[tuple[str, str]]:
    """Field below the stage and what is wrong with it."""
    dpo = _member(stage)
    losses = [term.type for term in dpo.loss]
    if dpo.label_smoothing and not set(losses) & set(_SMOOTHED):
        yield (
            "dpo.labelSmoothing",
            f"{dpo.label_smoothing} has no effect on the losses {', '.join(losses)}: use one of "
            f"{', '.join(_SMOOTHED)}, or remove it",
        )
    other = [loss for loss in losses if loss not in _OF_THE_DIFFERENCE]
    if other and dpo.divergence.type is not FDivergenceType.REVERSE_KL:
        yield (
            "dpo.divergence.type",
            f"{dpo.divergence.type} is not defined for the losses {', '.join(other)}: use "
            f"{FDivergenceType.REVERSE_KL}, or losses among {', '.join(_OF_THE_DIFFERENCE)}",
        )
    sorting = [loss for loss in losses if loss in _SORTED]
    if sorting and stage.training.micro_batch_size == 1:
        yield (
            "training.microBatchSize",
            f"1 is too small for the loss {sorting[0]}, which compares the rows of a micro batch: set it to 2 or more",
        )
    if sorting and (stage.trainer_args or {}).get("use_weighting"):
        yield (
            "trainerArgs.use_weighting",
            f"weights each pair, and the loss {sorting[0]} sorts them: remove one of them",
        )
    if dpo.sync_reference is not None and stage.adapter is not None:
        yield (
            "dpo.syncReference",
            "mixes the policy's weights into the reference's, and an adapter alone has no such weights: remove "
            "syncReference, or remove adapter to train all weights",
        )


def _label_smoothing(dpo: Dpo) -> float:
    if dpo.label_smoothing == 0 and any(term.type is DpoLossType.EXO_PAIR for term in dpo.loss):
        return _EXO_LABEL_SMOOTHING
    return dpo.label_smoothing


def _member(stage: Stage) -> Dpo:
    if stage.dpo is None:
        raise ValueError(f"stage {stage.name} is not a dpo stage")
    return stage.dpo
