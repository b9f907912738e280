"""Odds-ratio preference optimization on TRL's experimental ORPOTrainer."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.v1alpha1 import Stage

from .. import trl_imports
from . import reference_free
from .inputs import TrainerInputs

OWNERS: Final = {
    "beta": "orpo.beta",
    "max_length": "orpo.maxLength",
    "padding_value": "spec.tokenizer.padToken",
}
PEFT_TASK: Final = "CAUSAL_LM"

config_class = trl_imports.orpo_config
check = reference_free.check


def options(stage: Stage) -> dict[str, Any]:
    """ORPOConfig options of the stage's ``orpo`` member."""
    if stage.orpo is None:
        raise ValueError(f"stage {stage.name} is not an orpo stage")
    return {"beta": stage.orpo.beta, "max_length": stage.orpo.max_length}


def make_trainer(inputs: TrainerInputs) -> Any:
    """The ORPOTrainer.

    What it reports obeys ``loss = nll_loss - beta * log_odds_ratio`` at every step: the mean negative log-likelihood of
    prompt and chosen response, and the log-sigmoid of the log odds ratio, which is ``-log 2`` for a model that does not
    tell chosen from rejected.
    """
    return reference_free.make_trainer(trl_imports.orpo_trainer(), inputs)
