"""``prompt`` and ``completion``, each as text or as messages."""

from __future__ import annotations

from ..rows import Conversation
from .base import Format, SourceRow, answer_messages, has, prompt_messages


def convert(row: SourceRow) -> Conversation:
    """The completion after the prompt."""
    return Conversation(prompt_messages(row, "prompt") + answer_messages(row, "completion"))


FORMAT = Format(columns=("prompt", "completion"), matches=has("prompt", "completion"), convert=convert)
