"""``prompt`` and ``completion``, each as text or as messages."""

from __future__ import annotations

from ..rows import Conversation
from .base import Format, SourceRow, answer_messages, prompt_messages


def convert(row: SourceRow) -> tuple[Conversation]:
    """The completion after the prompt."""
    return (Conversation(prompt_messages(row, "prompt") + answer_messages(row, "completion")),)


def matches(row: SourceRow) -> bool:
    """Whether there are both columns, and no label that would call some of the completions bad."""
    return "prompt" in row and "completion" in row and not isinstance(row.get("label"), bool)


FORMAT = Format(columns=("prompt", "completion"), matches=matches, convert=convert)
