"""What ORPO, CPO and SimPO share: pairs, no reference model, and TRL's experimental trainers.

Those load a model in the precision of its files, know no quantization, and count no tokens. Here they get what TRL's
stable trainers have: a model in float32 unless told otherwise, rows tokenized the same way, a count of tokens, and one
collective for the metrics of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from accelerate import PartialState
from datasets import Dataset

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage

from .. import trl_imports
from ..exceptions import DataError
from .inputs import TrainerInputs
from .tokenized_pairs import SIDES, tokenize

_REFUSED: Final = {
    "generate_during_eval": "reports to Weights and Biases or Comet alone: add an evaluate stage instead",
    "is_encoder_decoder": "is for models that these stages do not train: remove it",
    "max_completion_length": "is for encoder-decoder models, which these stages do not train: remove it",
}
"""Options that TRL's trainers have beside the methods -> what is wrong with them."""

_STAND_IN: Final = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}
"""A row for the trainers' own tokenization, whose result is replaced."""


def check(stage: Stage, path: str, refused: Mapping[str, str] | None = None) -> list[Problem]:
    """Refuse options of the trainers that have no place in the stage.

    Args:
        stage: the stage.
        path: its path in the manifest.
        refused: further options -> what is wrong with them.
    """
    messages = {**_REFUSED, **(refused or {})}
    return [
        Problem(field=f"{path}.trainerArgs.{name}", message=messages[name])
        for name in stage.trainer_args or {}
        if name in messages
    ]


def make_trainer(trainer_class: type[Any], inputs: TrainerInputs) -> Any:
    """The trainer on the model and the rows of ``inputs``.

    Args:
        trainer_class: ``ORPOTrainer`` or ``CPOTrainer``.
        inputs: of the stage.

    Raises:
        DataError: maxLength leaves no response of any pair.
    """
    config = inputs.config
    model_options = dict(config.model_init_kwargs or {})
    config.model_init_kwargs = None  # the trainers take none beside a loaded model
    config.remove_unused_columns = False  # which the trainers set as well, with a warning
    stand_in = Dataset.from_list([_STAND_IN])
    trainer = reducing_once(trainer_class)(
        model=_load_model(inputs, model_options),
        args=config,
        processing_class=inputs.tokenizer,
        train_dataset=stand_in,
        eval_dataset=stand_in if inputs.eval_dataset is not None else None,
        peft_config=inputs.peft_config,
        callbacks=inputs.callbacks,
    )
    config.model_init_kwargs = model_options or None
    trainer.train_dataset = _tokenized(inputs.train_dataset, inputs)
    if inputs.eval_dataset is not None:
        trainer.eval_dataset = _tokenized(inputs.eval_dataset, inputs)
    return trainer


def reducing_once(trainer_class: type[Any]) -> type[Any]:
    """``trainer_class`` with one collective for what a batch reports, and a count of tokens.

    TRL gathers each of the ten metrics of a batch by itself, which takes a seventh of a small model's step. The count
    is the one that TRL's stable trainers keep: tokens of prompts and responses, without padding.
    """

    class ReducingTrainer(trainer_class):  # type: ignore[misc]
        _total_train_tokens = 0

        def get_batch_loss_metrics(self, model: Any, batch: Any, train_eval: str = "train") -> tuple[Any, Any]:
            if train_eval != "train":  # the last batch of an evaluation may hold rows twice, which gathering drops
                return super().get_batch_loss_metrics(model, batch, train_eval)  # type: ignore[no-any-return]
            with _own_metrics(self.accelerator):
                loss, metrics = super().get_batch_loss_metrics(model, batch, train_eval)
            tokens = float(sum(batch[f"{side}_attention_mask"].sum() for side in SIDES))
            sums = torch.tensor([tokens, *metrics.values()], dtype=torch.float64, device=self.accelerator.device)
            tokens, *totals = self.accelerator.reduce(sums, reduction="sum").tolist()
            self._total_train_tokens += int(tokens)
            # Every process has as many rows, so the mean over all is the mean of the means.
            means = [total / self.accelerator.num_processes for total in totals]
            return loss, dict(zip(metrics, means, strict=True))

    ReducingTrainer.__name__ = trainer_class.__name__
    return ReducingTrainer


@contextmanager
def _own_metrics(accelerator: Any) -> Iterator[None]:
    """Within it, ``accelerator`` gathers no metrics: each process has its own."""
    accelerator.gather_for_metrics = _same
    try:
        yield
    finally:
        del accelerator.gather_for_metrics


def _same(value: Any) -> Any:
    return value


def _load_model(inputs: TrainerInputs, options: Mapping[str, Any]) -> Any:
    if inputs.quantization_config is not None:
        options = {**options, "quantization_config": inputs.quantization_config}
    # Each process trains on its own device, which the trainer moves the model to.
    return trl_imports.load_language_model(inputs.model, **{"device_map": None, **options})


def _tokenized(rows: Dataset, inputs: TrainerInputs) -> Dataset:
    max_length = inputs.config.max_length
    with PartialState().main_process_first():  # the others read what it wrote beside the rows
        tokenized = rows.map(
            tokenize,
            batched=True,
            remove_columns=rows.column_names,
            fn_kwargs={"tokenizer": inputs.tokenizer, "max_length": max_length},
            num_proc=inputs.config.dataset_num_proc,
            desc="Tokenizing pairs",
        )
    if not len(tokenized):
        stage = inputs.stage
        field = f"spec.stages[{stage.name}].{stage.method}.maxLength"
        message = f"no prompt of {len(rows)} pairs leaves room for a response within {max_length} tokens: raise it"
        raise DataError(message, [Problem(field=field, message=message)])
    return tokenized
