"""A reward as TRL calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from alignment_api.contract import Problem

from ..data.rows import Message
from ..exceptions import FunctionError, TrainerError, UnavailableError
from .checks import excerpt, rewards_of
from .scoring import Batch, Scorer, ScoringError, ServiceDownError, TermError, question

_NOT_COLUMNS: Final = frozenset({"trainer_state", "log_extra", "log_metric", "environments"})
"""What TRL passes beside the dataset's columns."""


class RewardFunction:
    """One term of the reward, with the signature of TRL's reward functions.

    It is called in every process of the gang, on that process's responses.

    Args:
        name: the reward's name, in metrics and messages.
        field: its path in the manifest.
        scorer: what computes it; closed with the function.
    """

    def __init__(self, name: str, field: str, scorer: Scorer) -> None:
        self.__name__ = name
        self.field = field
        self._scorer = scorer

    def __call__(
        self,
        prompts: Sequence[Sequence[Mapping[str, Any]]],
        completions: Sequence[Sequence[Mapping[str, Any]]],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """The reward of every response; None leaves a response out of this term.

        Args:
            prompts: conversations, as lists of messages.
            completions: the responses, each a list of one assistant message.
            completion_ids: tokens of the responses.
            columns: the dataset's other columns.

        Raises:
            FunctionError: the reward cannot be computed; the message names it and the row.
            UnavailableError: the service behind it does not answer.
        """
        batch = Batch(
            prompts=[tuple(_message(turn) for turn in prompt) for prompt in prompts],
            completions=["".join(_message(turn)["content"] for turn in turns) for turns in completions],
            columns={name: values for name, values in columns.items() if name not in _NOT_COLUMNS},
            completion_ids=completion_ids,
        )
        return self.score(batch)

    def score(self, batch: Batch) -> list[float | None]:
        """The reward of every response in ``batch``; errors as from a call."""
        try:
            return rewards_of(self._scorer.score(batch), len(batch))
        except ScoringError as error:
            raise self._explained(error, batch) from error

    def close(self) -> None:
        """End its process and connections."""
        self._scorer.close()

    def _explained(self, error: ScoringError, batch: Batch) -> TrainerError:
        kind = UnavailableError if isinstance(error, ServiceDownError) else FunctionError
        where = "" if isinstance(error, TermError) else _where(error.row, batch)
        message = f"reward {self.__name__!r} {error.message}{where}"
        return kind(message, [Problem(field=self.field, message=message[:2048])])


def _message(turn: Mapping[str, Any]) -> Message:
    return {"role": turn["role"], "content": turn.get("content") or ""}


def _where(row: int | None, batch: Batch) -> str:
    if not len(batch):
        return ""
    which = "the first" if row is None else f"row {row + 1}"
    asked, answered = excerpt(question(batch.prompts[row or 0])), excerpt(batch.completions[row or 0])
    return f" (batch of {len(batch)} responses, {which}: prompt {asked!r}, response {answered!r})"
