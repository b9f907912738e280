"""``conversations``: a list of turns with ``from`` and ``value``."""

from __future__ import annotations

from ..rows import Conversation, Role
from .base import Format, SourceRow, has, messages

ROLES = {
    "system": Role.SYSTEM,
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
}


def convert(row: SourceRow) -> tuple[Conversation]:
    """The conversation with roles by their usual names."""
    return (Conversation(messages(row, "conversations", role_key="from", content_key="value", roles=ROLES)),)


FORMAT = Format(columns=("conversations",), matches=has("conversations"), convert=convert)
