"""What every method needs to build its TRL trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alignment_api.v1alpha1 import Stage


@dataclass(frozen=True)
class TrainerInputs:
    """Everything a method puts together.

    Attributes:
        stage: the stage.
        config: the method's TRL config.
        model: local folder of the model the stage starts from.
        tokenizer: its tokenizer, with chat template and pad token.
        train_dataset: training rows in TRL's standard format.
        eval_dataset: held-out rows, if there are any.
        peft_config: the adapter, if one is trained.
        quantization_config: how the frozen base is quantized, if it is.
        callbacks: transformers callbacks.
    """

    stage: Stage
    config: Any
    model: str
    tokenizer: Any
    train_dataset: Any
    eval_dataset: Any | None = None
    peft_config: Any | None = None
    quantization_config: Any | None = None
    callbacks: list[Any] = field(default_factory=list)

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
