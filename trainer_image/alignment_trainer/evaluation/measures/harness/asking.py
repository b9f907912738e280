"""Asks a model a task's questions, dealt out over the gang."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import torch
from lm_eval.models.huggingface import HFLM

from ...contestants import Contestant
from ...gang import Gang, Kept
from ...language_model import LanguageModel
from ...loaded import OnDemand
from ..units import Unit
from .questions import Questions
from .refusals import explained

_MOST_LOGITS: Final = 2**28
"""Logits of one forward pass: a gigabyte in full precision."""


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
    return _Asked(pretrained=model.model, tokenizer=model.tokenizer, batch_size=batch_size, softmax_dtype=torch.float32)


class _Asked(HFLM):  # type: ignore[misc]
    """A model whose forward passes have no more logits than fit beside it.

    The harness takes the logits of whole prompts: a batch with examples before its questions would need many times the
    memory of the model's other uses. Their softmax is taken in full precision; in 16 bits, answers tie.
    """

    batch_size_per_gpu: int

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = True,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """Log-likelihood of each answer after its question, and whether the model would write it, of token ids."""
        longest = max(len(asked) + len(answer) for _, asked, answer in requests)
        logits = min(longest, self.max_length) * self.model.config.get_text_config().vocab_size
        wanted = self.batch_size_per_gpu
        self.batch_size_per_gpu = max(1, min(wanted, _MOST_LOGITS // logits))
        try:
            found: list[tuple[float, bool]] = super()._loglikelihood_tokens(list(requests), True, override_bs)
        finally:
            self.batch_size_per_gpu = wanted
        return found
