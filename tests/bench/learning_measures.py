"""What the learning benchmark measures on held-out requests, and its test."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from alignment_api.v1alpha1 import Tokenizer
from alignment_api.v1alpha1.evaluation import Generation
from alignment_trainer.data.rows import Message, Messages, Role, message
from alignment_trainer.evaluation.language_model import LanguageModel
from alignment_trainer.models.reward_model import RewardModel
from tests.bench.learning_task import Request

Numbers = NDArray[np.float64]
SAMPLES: Final = 8
"""Responses that are sampled to each held-out request."""


def log_likelihood(model: Path, requests: Sequence[Request]) -> Numbers:
    """Log-probability of the wanted answer to each request, in nats."""
    return _log_probabilities(model, [(request, request.wanted) for request in requests])


def preference(model: Path, requests: Sequence[Request]) -> Numbers:
    """By how many nats each wanted answer is likelier than the other one: the implicit reward, without beta."""
    other = _log_probabilities(model, [(request, request.other) for request in requests])
    return log_likelihood(model, requests) - other


def accuracy(model: Path, requests: Sequence[Request]) -> Numbers:
    """Whether a reward model scores the wanted answer to each request above the other: 1 or 0.

    A model that is no classifier yet gets a score head of random weights, as reward stages start from.
    """
    with tempfile.TemporaryDirectory() as folder:
        scorer = RewardModel(str(_classifier(model, Path(folder))), Tokenizer(), "cpu", "model")
    wanted, other = (
        np.array(scorer.scores([(*_asked(request), _answer(text)) for request, text in answered]))
        for answered in (
            [(request, request.wanted) for request in requests],
            [(request, request.other) for request in requests],
        )
    )
    return np.asarray(wanted > other, dtype=np.float64)


def mean_reward(model: Path, requests: Sequence[Request]) -> Numbers:
    """Share of sampled responses to each request that are the wanted answer, literally."""
    language_model = LanguageModel(str(model), Tokenizer(), "cpu")
    settings = Generation(max_new_tokens=32, temperature=1.0, seed=0)
    asked = [_asked(request) for request in requests]
    hits = np.zeros(len(requests))
    for sample in range(SAMPLES):
        responses = language_model.respond(asked, settings, sample)
        hits += [response.text.strip() == request.wanted for response, request in zip(responses, requests, strict=True)]
    return hits / SAMPLES


def by_customer(requests: Sequence[Request], numbers: Numbers) -> Numbers:
    """The mean of each customer's ``numbers``, in the order of the customers."""
    customers = sorted({request.customer for request in requests})
    own = {customer: [request.customer == customer for request in requests] for customer in customers}
    return np.array([numbers[own[customer]].mean() for customer in customers])


def p_value(before: Numbers, after: Numbers) -> float:
    """One-sided paired Wilcoxon test: how likely such a rise is if nothing was learnt.

    Args:
        before: a number for each independent unit.
        after: the same units afterwards.
    """
    if np.array_equal(before, after):
        return 1.0
    return float(wilcoxon(after, before, alternative="greater", zero_method="zsplit").pvalue)


def _classifier(model: Path, folder: Path) -> Path:
    """``model``, or a copy of it in ``folder`` with a score head of random weights if it has none."""
    if "ForSequenceClassification" in (AutoConfig.from_pretrained(model).architectures or [""])[0]:
        return model
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(model, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


def _log_probabilities(model: Path, answered: Sequence[tuple[Request, str]]) -> Numbers:
    language_model = LanguageModel(str(model), Tokenizer(), "cpu")
    rows = [(_asked(request), (_answer(text),)) for request, text in answered]
    return np.array(language_model.log_probabilities(rows))


def _asked(request: Request) -> Messages:
    return (message(Role.USER, request.question),)


def _answer(text: str) -> Message:
    return message(Role.ASSISTANT, text)
