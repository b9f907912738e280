"""When to ask a service again that is down or busy. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait after each failure: twice as long each time, ``longest`` at most."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, longest)


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds that a service asks to wait (RFC 9110, section 10.2.3), as a number or a date; 0 if it does not say.

    Args:
        headers: of its answer, by any spelling that ``headers`` knows.
        now: the time, with its zone.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.replace(".", "", 1).isdigit():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    # A date without a zone is one of a server that forgot to say GMT.
    return max((then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp(), 0.0)
