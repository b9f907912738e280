"""Regular expressions of users on texts of models, which together can take for ever: every match has a time limit."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

import regex

from .scoring import ScoringError

_log = logging.getLogger(__name__)

_ROW_SECONDS: Final = 1.0
"""A match that takes longer is backtracking without end."""


class Budget:
    """Time for the matches of one batch.

    Args:
        seconds: in total; a match gets one second of it at most.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def for_row(self, row: int) -> float:
        """Seconds for the match in one row.

        Raises:
            ScoringError: the time is over.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            message = f"takes longer than timeoutSeconds {self._seconds:g}: simplify the pattern, or raise it"
            raise ScoringError(message, row)
        return min(left, _ROW_SECONDS)


class Pattern:
    """A compiled pattern of a user's, in which ``.`` matches newlines.

    Raises:
        ValueError: it is no regular expression.
    """

    def __init__(self, text: str) -> None:
        try:
            self._compiled = regex.compile(text, regex.DOTALL)
        except regex.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from error

    def fullmatch(self, text: str, seconds: float) -> bool:
        """Whether the whole of ``text`` matches; a match that cannot be decided in time is none."""
        try:
            return self._compiled.fullmatch(text, timeout=seconds) is not None
        except TimeoutError:
            self._warn(text)
            return False

    def last(self, text: str, seconds: float) -> str | None:
        """The first group, or the whole, of the last match in ``text``; None if there is none in time."""
        found = None
        try:
            for found in self._compiled.finditer(text, timeout=seconds):  # noqa: B007
                pass
        except TimeoutError:
            self._warn(text)
            return None
        if found is None:
            return None
        group: Any = found.group(1) if found.re.groups else found.group()
        return group if isinstance(group, str) else None

    def _warn(self, text: str) -> None:
        _log.warning(
            "pattern %r backtracks without end on a response of %d characters, which counts as no match",
            self._compiled.pattern, len(text),
        )  # fmt: skip
