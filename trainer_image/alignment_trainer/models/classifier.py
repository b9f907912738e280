"""Probability of a label, as a sequence classifier sees it in texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import Problem

from ..exceptions import ConfigurationError
from . import remote_code
from .reward_model import is_classifier
from .unpartitioned import unpartitioned

_MULTI_LABEL: Final = "multi_label_classification"
_REGRESSION: Final = "regression"
_LABELS_SHOWN: Final = 20


class Classifier:
    """A sequence classifier, frozen and whole in the memory of this process.

    Texts longer than the classifier takes are judged by their beginning.

    Args:
        folder: the model, as written by ``save_pretrained``, with its own tokenizer.
        label: name of the label.
        device: where to run it.
        field: path of the classifier in the manifest, for errors.

    Raises:
        ConfigurationError: the model is no classifier that has the label.
    """

    def __init__(self, folder: str, label: str, device: Any, field: str) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self._label = check(folder, label, field)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, **remote_code.options(folder))
        self._tokenizer.padding_side = "right"
        with unpartitioned():
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype="auto", **remote_code.options(folder)
            )
        if model.config.pad_token_id is None:
            model.config.pad_token_id = self._tokenizer.pad_token_id
        self._model = model.to(device).eval().requires_grad_(False)
        self._device = device
        self._field = field
        positions = getattr(model.config, "max_position_embeddings", None) or math.inf
        # RoBERTa numbers positions from the one after its padding token's.
        offset = (model.config.pad_token_id or 0) + 1 if "roberta" in model.config.model_type else 0
        limit = min(self._tokenizer.model_max_length, positions - offset)
        self._truncation: dict[str, Any] = {"truncation": True, "max_length": int(limit)} if limit < 1e9 else {}

    def probabilities(self, texts: Sequence[str]) -> list[float]:
        """The probability of the label for each text, run as one batch.

        It is the softmax over all labels, or, where labels do not exclude each other or there is only one, the sigmoid
        of the label's own logit.

        Raises:
            ConfigurationError: a probability is not a finite number.
        """
        import torch

        # Without a padding token only texts of one length could run together.
        batches = [list(texts)] if self._tokenizer.pad_token is not None else [[text] for text in texts]
        found: list[float] = []
        for batch in batches:
            inputs = self._tokenizer(
                batch, padding=self._tokenizer.pad_token is not None, return_tensors="pt", **self._truncation
            ).to(self._device)
            with torch.inference_mode():
                logits = self._model(**inputs).logits.float()  # [texts, labels]
            exclusive = self._model.config.num_labels > 1 and self._model.config.problem_type != _MULTI_LABEL
            shares = logits.softmax(dim=1) if exclusive else logits.sigmoid()
            found += shares[:, self._label].tolist()
        if not all(map(math.isfinite, found)):
            raise _refused(f"{self._field}.model", "the classifier gives probabilities that are not finite numbers")
        return found


def check(folder: str | Path, label: str, field: str) -> int:
    """Refuse a model that gives no probability of the label, without reading its weights.

    Args:
        folder: the model.
        label: name of the label.
        field: path of the classifier in the manifest.

    Returns:
        The label's number.

    Raises:
        ConfigurationError: it is no sequence classifier, a regression, or has neither the label nor a tokenizer.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(str(folder), **remote_code.options(folder))
        AutoTokenizer.from_pretrained(str(folder), **remote_code.options(folder))
    except (OSError, ValueError) as error:
        raise _refused(f"{field}.model", f"the classifier cannot be loaded: {error}") from error
    if not is_classifier(config):
        is_ = ", ".join(config.architectures or []) or "of no known architecture"
        raise _refused(f"{field}.model", f"the model is {is_}, and gives no probabilities: name a sequence classifier")
    if config.problem_type == _REGRESSION:
        raise _refused(f"{field}.model", "the model is a regression, and gives no probabilities: name a classifier")
    labels = {name: number for number, name in config.id2label.items()}
    if label not in labels:
        names = [*labels][:_LABELS_SHOWN]
        more = f" and {len(labels) - len(names)} more" if len(labels) > len(names) else ""
        raise _refused(
            f"{field}.label", f"the classifier has no label {label!r}, but {', '.join(names)}{more}: name one"
        )
    return int(labels[label])


def _refused(field: str, message: str) -> ConfigurationError:
    return ConfigurationError(message, [Problem(field=field, message=message)])
