"""Keeps texts within the limits that the API puts on them."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE: Final = 4096


def bounded(text: str, limit: int = MAX_MESSAGE) -> str:
    """``text``, cut in its middle when it is longer than ``limit``: what happened stands first, details last."""
    if len(text) <= limit:
        return text
    mark = " [...] "
    head = (limit - len(mark)) * 2 // 3
    tail = limit - len(mark) - head
    return text[:head] + mark + text[-tail:]
