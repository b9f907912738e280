"""What every method needs to build its TRL trainer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignment_api.contract import AttemptLayout
from alignment_api.v1alpha1 import Stage


@dataclass(frozen=True)
class TrainerInputs:
    """Everything a method puts together.

    Attributes:
        stage: the stage.
        config: the method's TRL config; a method may still change options in it that follow from the rows.
        model: local folder of the model the stage starts from.
        tokenizer: its tokenizer, with chat template and pad token.
        train_dataset: training rows in TRL's standard format.
        attempt: folders that this attempt alone writes to.
        device: torch device of this process.
        models: path of a model below the stage, such as ``dpo.reference`` or ``grpo.rewards[0].rewardModel`` -> its
            local folder; ``model`` is the one the stage starts from.
        resumed_from: folder of the checkpoint that training goes on from, if it does.
        eval_dataset: held-out rows, if there are any.
        peft_config: the adapter, if one is trained.
        quantization_config: how the frozen base is quantized, if it is.
        callbacks: transformers callbacks.
        path: path of the stage in the manifest, for messages.
        closing: what a method registers here is closed when training ends, whichever way it ends.
    """

    stage: Stage
    config: Any
    model: str
    tokenizer: Any
    train_dataset: Any
    attempt: AttemptLayout
    device: Any
    models: Mapping[str, str] = field(default_factory=dict)
    resumed_from: Path | None = None
    eval_dataset: Any | None = None
    peft_config: Any | None = None
    quantization_config: Any | None = None
    callbacks: list[Any] = field(default_factory=list)
    path: str | None = None
    closing: ExitStack = field(default_factory=ExitStack)

    def keyword_arguments(self) -> dict[str, Any]:
        """The arguments that all TRL trainers share."""
        return {
            "model": self.model,
            "args": self.config,
            "processing_class": self.tokenizer,
            "train_dataset": self.train_dataset,
            "eval_dataset": self.eval_dataset,
            "peft_config": self.peft_config,
            "quantization_config": self.quantization_config,
            "callbacks": self.callbacks,
        }
