"""``prompt`` alone, as text or as messages; reward functions are given all other columns."""

from __future__ import annotations

from ..rows import Prompt
from .base import Format, SourceRow, has, json_value, prompt_messages


def convert(row: SourceRow) -> tuple[Prompt]:
    """The prompt, and the other columns as they are."""
    extra = {str(name): json_value(value, str(name)) for name, value in row.items() if name != "prompt"}
    return (Prompt(prompt_messages(row, "prompt"), extra),)


FORMAT = Format(columns=("prompt",), matches=has("prompt"), convert=convert)
