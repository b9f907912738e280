"""``prompt`` alone, as text or as messages; other columns are left out."""

from __future__ import annotations

from ..rows import Prompt
from .base import Format, SourceRow, has, prompt_messages


def convert(row: SourceRow) -> Prompt:
    """The prompt."""
    return Prompt(prompt_messages(row, "prompt"))


FORMAT = Format(columns=("prompt",), matches=has("prompt"), convert=convert)
