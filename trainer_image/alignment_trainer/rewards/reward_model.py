"""The score of a reward model, which lies whole in the memory of every process of the gang."""

from __future__ import annotations

from typing import Any

from alignment_api.v1alpha1 import Tokenizer

from ..data.rows import Role, message
from ..exceptions import ConfigurationError
from ..models.reward_model import RewardModel
from .scoring import Batch, Scorer, ScoringError


class RewardModelScorer(Scorer):
    """Scores a response in its conversation, with the reward model's own tokenizer and chat template.

    Args:
        folder: the model, as written by ``save_pretrained``.
        device: where to run it.
        batch_size: conversations scored at once.
        field: path of the model in the manifest.

    Raises:
        ConfigurationError: it is no reward model.
    """

    def __init__(self, folder: str, device: Any, batch_size: int, field: str) -> None:
        # A model of another stage was exported with the job's chat template; a model from elsewhere brings its own.
        self._model = RewardModel(folder, Tokenizer(), device, field)
        self._batch_size = batch_size

    def score(self, batch: Batch) -> list[float]:
        """The score of each response.

        Raises:
            ScoringError: a score is not a finite number.
        """
        conversations = [
            [*prompt, message(Role.ASSISTANT, text)]
            for prompt, text in zip(batch.prompts, batch.completions, strict=True)
        ]
        scores: list[float] = []
        for start in range(0, len(conversations), self._batch_size):
            try:
                scores += self._model.scores(conversations[start : start + self._batch_size])
            except ConfigurationError as error:
                raise ScoringError(f"cannot be used: {error.message}", start) from error
        return scores
