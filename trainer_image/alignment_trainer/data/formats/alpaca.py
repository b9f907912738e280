"""``instruction``, optional ``input``, ``output``: the columns of Stanford Alpaca."""

from __future__ import annotations

from ..rows import Conversation, Role, message
from .base import Format, SourceRow, has, text


def convert(row: SourceRow) -> tuple[Conversation]:
    """A user turn of instruction and input, and the output; a ``system`` column becomes the system turn."""
    instruction = text(row, "instruction")
    context = text(row, "input") if row.get("input") is not None else ""
    user = f"{instruction}\n\n{context}" if context.strip() else instruction
    system = text(row, "system") if row.get("system") is not None else ""
    turns = (message(Role.USER, user), message(Role.ASSISTANT, text(row, "output")))
    return (Conversation((message(Role.SYSTEM, system), *turns) if system.strip() else turns),)


FORMAT = Format(columns=("instruction", "output"), matches=has("instruction", "output"), convert=convert)
