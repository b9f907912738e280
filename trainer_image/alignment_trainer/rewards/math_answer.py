"""1 if a response's final mathematical expression equals the right answer, else 0; by math-verify."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

from ..sandbox.process import EndedError, Sandbox, SandboxError, Source, TimedOutError
from .answers import right_answers
from .scoring import Batch, Scorer, ScoringError

_log = logging.getLogger(__name__)

_ROW_SECONDS: Final = 20.0
"""The comparison gives up by itself after seconds of Python; only a stuck C function takes longer."""

_COMPARISON: Final = Path(__file__).with_name("math_equality.py")


class MathAnswerScorer(Scorer):
    """Compares by math-verify, in a process of its own: an expression that a model made up can take for ever.

    Args:
        column: the column with the right answer.
        timeout: seconds that a batch may take.
    """

    def __init__(self, column: str, timeout: float) -> None:
        self._column = column
        self._timeout = timeout
        self._sandbox = Sandbox(Source(text=_COMPARISON.read_text(), file=_COMPARISON.name, function="equal"))

    def score(self, batch: Batch) -> list[float | None]:
        """1 or 0 for each response; None for rows without a right answer, or whose right answer is no mathematics.

        Raises:
            ScoringError: there is no such column, or the batch takes too long.
        """
        answers = right_answers(batch, self._column)
        end = time.monotonic() + self._timeout
        return [
            None if answer is None else self._reward(answer, text, row, end)
            for row, (answer, text) in enumerate(zip(answers, batch.completions, strict=True))
        ]

    def close(self) -> None:
        """End the process."""
        self._sandbox.close()

    def _reward(self, answer: str, text: str, row: int, end: float) -> float | None:
        left = end - time.monotonic()
        if left <= 0:
            raise ScoringError(f"takes longer than timeoutSeconds {self._timeout}: raise it", row)
        try:
            (equal,) = self._sandbox.call({"answer": answer, "response": text}, min(left, _ROW_SECONDS))
        except TimedOutError as error:
            if left < _ROW_SECONDS:
                raise ScoringError(f"takes longer than timeoutSeconds {self._timeout}: raise it", row) from error
            return _passed_over(text, error)
        except EndedError as error:  # a text can exhaust the memory or the stack
            return _passed_over(text, error)
        except SandboxError as error:
            raise ScoringError(f"cannot compare with the answer {answer!r:.60}: {error}", row) from error
        return None if equal is None else float(equal)


def _passed_over(text: str, error: SandboxError) -> float:
    _log.warning("a response of %d characters cannot be compared with the answer: the comparison %s", len(text), error)
    return 0.0
