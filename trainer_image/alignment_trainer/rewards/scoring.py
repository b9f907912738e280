"""What a reward is computed from, and what computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.rows import Messages, Role


class ScoringError(Exception):
    """A reward cannot be computed.

    Args:
        message: what went wrong, without the reward's name.
        row: index in the batch of the row to blame; None if it is no single row.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.row = row


class TermError(ScoringError):
    """A reward cannot be computed, whatever the responses are."""


class ServiceDownError(ScoringError):
    """The service behind a reward does not answer, which may pass."""


@dataclass(frozen=True)
class Batch:
    """Responses to be scored together; all sequences have one entry a response.

    Attributes:
        prompts: the conversations that were answered.
        completions: texts of the responses.
        columns: the dataset's other columns, by name.
        completion_ids: tokens of the responses, if they are known.
    """

    prompts: Sequence[Messages]
    completions: Sequence[str]
    columns: Mapping[str, Sequence[Any]]
    completion_ids: Sequence[Sequence[int]] | None = None

    def __len__(self) -> int:
        return len(self.completions)

    def column(self, name: str) -> Sequence[Any]:
        """The values of a column.

        Raises:
            TermError: the dataset has no such column.
        """
        if name not in self.columns:
            there = ", ".join(sorted(self.columns)) or "none besides the prompt"
            raise TermError(f"needs a column {name!r}, which the dataset lacks; its columns: {there}")
        return self.columns[name]

    def questions(self) -> list[str]:
        """The last user turn of every prompt."""
        return [question(prompt) for prompt in self.prompts]

    def row(self, index: int) -> Batch:
        """The batch of one row alone."""
        return Batch(
            prompts=[self.prompts[index]],
            completions=[self.completions[index]],
            columns={name: [values[index]] for name, values in self.columns.items()},
            completion_ids=[self.completion_ids[index]] if self.completion_ids is not None else None,
        )


class Scorer(ABC):
    """Computes one reward of every response in a batch."""

    @abstractmethod
    def score(self, batch: Batch) -> Sequence[object]:
        """One reward for each response, None for those it does not speak about.

        What comes from a user's code may be anything; `checks.rewards_of` looks at it.

        Raises:
            ScoringError: it cannot be computed.
        """

    def close(self) -> None:
        """Give up processes and connections."""
        return


def question(prompt: Messages) -> str:
    """The last user turn of a prompt; empty if there is none."""
    return next((turn["content"] for turn in reversed(prompt) if turn["role"] == Role.USER), "")
