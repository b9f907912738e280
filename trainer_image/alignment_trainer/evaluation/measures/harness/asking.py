"""Asks a model a task's questions, dealt out over the gang."""

from __future__ import annotations

from functools import cache
from typing import Any

from lm_eval.models.huggingface import HFLM

from ...contestants import Contestant
from ...gang import Gang, Kept
from ...language_model import LanguageModel
from ...loaded import OnDemand
from ..units import Unit
from .questions import Questions
from .refusals import explained


def measure(
    contestant: Contestant,
    model: OnDemand[LanguageModel],
    questions: Questions,
    batch_size: int,
    gang: Gang,
) -> list[Unit]:
    """Two numbers for each question; every process must call this.

    Args:
        contestant: the model.
        model: the same, for transformers.
        questions: the task's questions, the same on every process.
        batch_size: questions of a batch, and requests of one forward pass.
        gang: the processes.

    Raises:
        ConfigurationError: an answer cannot be scored.
    """
    kept = Kept(
        f"task-{questions.settings.name}-{contestant.name}",
        {"model": contestant.identity, "questions": questions.digest},
    )
    ask = cache(lambda: wrapped(model(), batch_size))
    with explained(questions.field):
        return gang.share(
            range(len(questions)),
            batch_size,
            lambda _, numbers: questions.score(ask(), numbers),
            kept=kept,
            size=questions.characters,
        )


def wrapped(model: LanguageModel, batch_size: int) -> Any:
    """The model as the harness asks it.

    Args:
        model: the model.
        batch_size: requests of one forward pass.
    """
    return HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=batch_size)
