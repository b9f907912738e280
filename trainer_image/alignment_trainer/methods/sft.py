"""Supervised fine-tuning on TRL's SFTTrainer."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods.common import Truncation
from alignment_api.v1alpha1.methods.sft import LossOn, Sft

from .. import trl_imports
from .inputs import TrainerInputs
from .truncation import TRUNCATION_MODES

OWNERS: Final = {
    "max_length": "sft.maxLength",
    "truncation_mode": "sft.truncation",
    "packing": "sft.packing",
    "completion_only_loss": "sft.lossOn",
    "assistant_only_loss": "sft.lossOn",
    "neftune_noise_alpha": "sft.neftuneNoiseAlpha",
}
PEFT_TASK: Final = "CAUSAL_LM"

config_class = trl_imports.sft_config


def options(stage: Stage) -> dict[str, Any]:
    """SFTConfig options of the stage's ``sft`` member."""
    sft = _member(stage)
    return {
        "max_length": sft.max_length,
        "truncation_mode": TRUNCATION_MODES[sft.truncation],
        "packing": sft.packing,
        "completion_only_loss": sft.loss_on is LossOn.COMPLETION,
        "assistant_only_loss": sft.loss_on is LossOn.ASSISTANT,
        "neftune_noise_alpha": sft.neftune_noise_alpha,
    }


def check(stage: Stage, path: str) -> list[Problem]:
    """Refuse to pack and keep the ends of rows: best-fit packing cuts a row that is too long at its end."""
    sft = _member(stage)
    if sft.packing and sft.truncation is Truncation.KEEP_END:
        message = (
            f"{sft.truncation} has no effect with packing, which keeps the start of a row: set it to "
            f"{Truncation.KEEP_START}, or sft.packing to false"
        )
        return [Problem(field=f"{path}.sft.truncation", message=message)]
    return []


def make_trainer(inputs: TrainerInputs) -> Any:
    """The SFTTrainer; Prepare has brought the rows into the shape that the choice of loss needs."""
    return trl_imports.sft_trainer()(**inputs.keyword_arguments())


def _member(stage: Stage) -> Sft:
    if stage.sft is None:
        raise ValueError(f"stage {stage.name} is not an sft stage")
    return stage.sft
