"""Keeps texts within the limits that the API puts on them."""

from __future__ import annotations

import re
from typing import Final

MAX_MESSAGE: Final = 4096
_NOT_FOR_READING: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
"""Colours of a terminal, carriage returns and other control characters, which programs print."""


def bounded(text: str, limit: int = MAX_MESSAGE) -> str:
    """``text`` without control characters, and cut in its middle when it is longer than ``limit``.

    What happened stands first, details last.
    """
    text = _NOT_FOR_READING.sub("", text)
    if len(text) <= limit:
        return text
    mark = " [...] "
    head = (limit - len(mark)) * 2 // 3
    tail = limit - len(mark) - head
    return text[:head] + mark + text[-tail:]
