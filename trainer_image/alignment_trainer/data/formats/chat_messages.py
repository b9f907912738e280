"""``messages``: a list of turns with ``role`` and ``content``."""

from __future__ import annotations

from ..rows import Conversation
from .base import Format, SourceRow, has, messages


def convert(row: SourceRow) -> tuple[Conversation]:
    """The conversation as it stands."""
    return (Conversation(messages(row, "messages")),)


FORMAT = Format(columns=("messages",), matches=has("messages"), convert=convert)
