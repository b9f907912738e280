"""Supervised fine-tuning on TRL's SFTTrainer."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods.sft import LossOn

from .. import trl_imports
from .inputs import TrainerInputs

OWNERS: Final = {
    "max_length": "sft.maxLength",
    "packing": "sft.packing",
    "completion_only_loss": "sft.lossOn",
    "assistant_only_loss": "sft.lossOn",
}
PEFT_TASK: Final = "CAUSAL_LM"

config_class = trl_imports.sft_config


def options(stage: Stage) -> dict[str, Any]:
    """SFTConfig options of the stage's ``sft`` member."""
    if stage.sft is None:
        raise ValueError(f"stage {stage.name} is not an sft stage")
    sft = stage.sft
    return {
        "max_length": sft.max_length,
        "packing": sft.packing,
        "completion_only_loss": sft.loss_on is LossOn.COMPLETION,
        "assistant_only_loss": sft.loss_on is LossOn.ASSISTANT,
    }


def check(stage: Stage, path: str) -> list[Problem]:
    """Nothing beyond what the API and TRL check."""
    return []


def make_trainer(inputs: TrainerInputs) -> Any:
    """The SFTTrainer; Prepare has brought the rows into the shape that the choice of loss needs."""
    return trl_imports.sft_trainer()(**inputs.keyword_arguments())
