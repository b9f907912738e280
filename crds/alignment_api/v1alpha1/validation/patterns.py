"""Regular expressions of users."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...contract.summary import Problem


def problems(field: str, pattern: str) -> Iterator[Problem]:
    """Say so if ``pattern``, which stands in ``field``, is no regular expression."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield Problem(field=field, message=f"{pattern!r} is no regular expression: {error}")
