"""1 if the answer in a response is the one in a column of the dataset, else 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignment_api.v1alpha1.methods.rewards import ExactAnswerReward

from .patterns import Budget, Pattern
from .scoring import Batch, Scorer, ScoringError


class ExactAnswerScorer(Scorer):
    """Compares literally, but for case and white space.

    Args:
        settings: the column, and how to find the answer.
        timeout: seconds that a batch may take.

    Raises:
        ValueError: the pattern is no regular expression.
    """

    def __init__(self, settings: ExactAnswerReward, timeout: float) -> None:
        self._column = settings.column
        self._pattern = Pattern(settings.extract) if settings.extract is not None else None
        self._timeout = timeout

    def score(self, batch: Batch) -> list[float | None]:
        """1 or 0 for each response; None for rows without a right answer.

        Raises:
            ScoringError: there is no such column, it holds something else than text or numbers, or the time is over.
        """
        budget = Budget(self._timeout)
        rewards: list[float | None] = []
        for row, (text, right) in enumerate(zip(batch.completions, right_answers(batch, self._column), strict=True)):
            given = self._pattern.last(text, budget.for_row(row)) if self._pattern else text
            rewards.append(None if right is None else float(given is not None and _plain(given) == _plain(right)))
        return rewards


def right_answers(batch: Batch, column: str) -> Sequence[str | None]:
    """The answers in a column as texts.

    Raises:
        ScoringError: there is no such column, or a value is neither text nor number nor null.
    """
    return [_text(value, column, row) for row, value in enumerate(batch.column(column))]


def _text(value: Any, column: str, row: int) -> str | None:
    if not isinstance(value, str | int | float | None):
        raise ScoringError(f"cannot use column {column!r}: {value!r:.60} is neither text nor a number", row)
    return None if value is None else str(value)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
