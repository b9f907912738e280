"""Judges by a reward model: a sequence classifier with one output, as a reward stage trains it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Tokenizer

from ...data.rows import Messages, Role, message
from ...exceptions import ConfigurationError
from ...models.tokenizer import load_tokenizer


class RewardModel:
    """A reward model in the memory of this process.

    Args:
        folder: the model, as written by ``save_pretrained``.
        overrides: tokenizer settings.
        device: where to run it.
        field: path of the judge in the manifest, for errors.

    Raises:
        ConfigurationError: the model has no single output.
    """

    def __init__(self, folder: str, overrides: Tokenizer, device: Any, field: str) -> None:
        self._tokenizer = load_tokenizer(folder, overrides)
        self._tokenizer.padding_side = "right"
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype="auto")
        if model.config.num_labels != 1:
            message_ = f"has {model.config.num_labels} outputs; a reward model has one: name a model of a reward stage"
            raise _refused(field, message_)
        # The score is read at the last token that is not padding.
        model.config.pad_token_id = self._tokenizer.pad_token_id
        self._model = model.to(device).eval()
        self._device = device
        self._field = field

    def scores(self, answered: Sequence[tuple[Messages, str]]) -> list[float]:
        """The reward of each (prompt, response text), run as one batch.

        Raises:
            ConfigurationError: a reward is not a finite number.
        """
        inputs = self._tokenizer.apply_chat_template(
            [[*prompt, message(Role.ASSISTANT, text)] for prompt, text in answered],
            padding=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device)
        with torch.inference_mode():
            rewards: list[float] = self._model(**inputs).logits[:, 0].float().tolist()
        if not all(map(math.isfinite, rewards)):
            raise _refused(self._field, "gives rewards that are not finite numbers: its training has diverged")
        return rewards


def _refused(field: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"the reward model {text}", [Problem(field=field, message=f"the reward model {text}")])
