"""Scores of a reward model: a sequence classifier with one output, as a reward stage trains it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Tokenizer

from ..exceptions import ConfigurationError
from . import remote_code
from .tokenizer import load_tokenizer
from .unpartitioned import unpartitioned

_CLASSIFIER: Final = "ForSequenceClassification"


class RewardModel:
    """A reward model, frozen and whole in the memory of this process, whatever is trained beside it.

    Args:
        folder: the model, as written by ``save_pretrained``.
        overrides: tokenizer settings.
        device: where to run it.
        field: path of the model in the manifest, for errors.

    Raises:
        ConfigurationError: the model is no classifier with a single output.
    """

    def __init__(self, folder: str, overrides: Tokenizer, device: Any, field: str) -> None:
        from transformers import AutoModelForSequenceClassification

        check(folder, field)
        self._tokenizer = load_tokenizer(folder, overrides)
        self._tokenizer.padding_side = "right"
        with unpartitioned():
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype="auto", **remote_code.options(folder)
            )
        # The score is read at the last token that is not padding.
        model.config.pad_token_id = self._tokenizer.pad_token_id
        self._model = model.to(device).eval().requires_grad_(False)
        self._device = device
        self._field = field

    def scores(self, conversations: Sequence[Sequence[Mapping[str, object]]]) -> list[float]:
        """The reward of each conversation's last turn, run as one batch.

        Args:
            conversations: lists of messages that end with the assistant.

        Raises:
            ConfigurationError: a reward is not a finite number.
        """
        import torch

        inputs = self._tokenizer.apply_chat_template(
            [list(conversation) for conversation in conversations],
            padding=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device)
        with torch.inference_mode():
            rewards: list[float] = self._model(**inputs).logits[:, 0].float().tolist()
        if not all(map(math.isfinite, rewards)):
            raise _refused(self._field, "gives rewards that are not finite numbers: its training has diverged")
        return rewards


def check(folder: str | Path, field: str) -> None:
    """Refuse a model that is no reward model, from its configuration alone.

    transformers would load a language model as a classifier too, and give it a random head.

    Raises:
        ConfigurationError: it is no sequence classifier, or has several outputs.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), **remote_code.options(folder))
    if not is_classifier(config):
        is_ = ", ".join(config.architectures or []) or "of no known architecture"
        raise _refused(field, f"is {is_}, which scores nothing: name a sequence classifier, such as a reward stage's")
    if config.num_labels != 1:
        raise _refused(field, f"has {config.num_labels} outputs, a reward model one: name a model of a reward stage")


def is_classifier(config: Any) -> bool:
    """Whether the model with this transformers config is a sequence classifier."""
    return any(name.endswith(_CLASSIFIER) for name in config.architectures or ())


def _refused(field: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"the reward model {text}", [Problem(field=field, message=f"the reward model {text}")])
