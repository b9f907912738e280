"""1 if the whole response has a form, else 0."""

from __future__ import annotations

from collections.abc import Sequence

from .patterns import Budget, Pattern
from .scoring import Batch, Scorer


class PatternScorer(Scorer):
    """The response matches a regular expression from its first character to its last.

    Args:
        pattern: the expression.
        timeout: seconds that a batch may take.

    Raises:
        ValueError: it is no regular expression.
    """

    def __init__(self, pattern: str, timeout: float) -> None:
        self._pattern = Pattern(pattern)
        self._timeout = timeout

    def score(self, batch: Batch) -> list[float]:
        """1 or 0 for each response.

        Raises:
            ScoringError: the batch takes too long.
        """
        budget = Budget(self._timeout)
        return [float(self._pattern.fullmatch(text, budget.for_row(row))) for row, text in enumerate(batch.completions)]


class XmlTagsScorer(Scorer):
    """Each tag opens and closes once, one after the other, with nothing but spaces around them."""

    def __init__(self, tags: Sequence[str]) -> None:
        self._tags = tags

    def score(self, batch: Batch) -> list[float]:
        """1 or 0 for each response."""
        return [float(has_tags(text, self._tags)) for text in batch.completions]


def has_tags(text: str, tags: Sequence[str]) -> bool:
    """Whether ``text`` is these elements in this order, each there once, with nothing but white space around them."""
    end = 0
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        if text.count(opening) != 1 or text.count(closing) != 1:
            return False
        start = text.index(opening)
        if start < end or text[end:start].strip():
            return False
        end = text.index(closing) + len(closing)
        if end < start:
            return False
    return not text[end:].strip()
