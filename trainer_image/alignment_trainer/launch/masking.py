"""Keeps users' secrets out of all that a Pod says."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TextIO
from urllib.parse import quote

from alignment_api.contract import SECRET_VARIABLE_PREFIX, Summary

MASKED: Final = "***"
SHORTEST: Final = 4
"""Characters; shorter values are words of ordinary output, and no secrets."""


class Mask:
    """Replaces secrets in text.

    A secret is recognized as it is, and as URLs and JSON write it. Of one with several lines, each line is a secret:
    output is passed on by the line.

    Args:
        secrets: what nobody may see.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        parts = {part for secret in secrets for part in (secret.strip(), *map(str.strip, secret.splitlines()))}
        forms = {
            form
            for part in parts
            if len(part) >= SHORTEST
            for form in (part, quote(part, safe=""), json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1])
        }
        # Of secrets that begin alike the longest must be tried first.
        pattern = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)) or r"(?!)"
        self._text = re.compile(pattern)
        self._bytes = re.compile(pattern.encode())

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Mask:
        """A mask for the Secrets that a Pod was given."""
        return cls(value for name, value in variables.items() if name.startswith(SECRET_VARIABLE_PREFIX))

    def text(self, text: str) -> str:
        """``text`` without secrets."""
        return self._text.sub(MASKED, text)

    def bytes(self, data: bytes) -> bytes:
        """UTF-8 text without secrets."""
        return self._bytes.sub(MASKED.encode(), data)

    def summary(self, summary: Summary) -> Summary:
        """``summary`` with the mask over all words in it."""
        problems = [
            problem.model_copy(update={"field": self.text(problem.field), "message": self.text(problem.message)})
            for problem in summary.problems
        ]
        words = {"message": self.text(summary.message), "output": self.text(summary.output)}
        return summary.model_copy(update={**words, "problems": problems})


class MaskedStream:
    """A text stream that masks what is written to it, each call by itself."""

    def __init__(self, stream: TextIO, mask: Mask) -> None:
        self._stream = stream
        self._mask = mask

    def write(self, text: str) -> int:
        """Write ``text`` without secrets."""
        self._stream.write(self._mask.text(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class MaskingFilter(logging.Filter):
    """Masks every record that passes a handler."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self._mask = mask

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask ``record``, and let it pass."""
        record.msg, record.args = self._mask.text(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._mask.text(record.exc_text)
        return True
