"""Translates what can go wrong in a request, once, into the operator's own errors."""

from __future__ import annotations

import json
from http import HTTPStatus

from ..exceptions import ClusterError, ConflictError, NotFoundError, RejectedError, UnavailableError

_LATER = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,  # the token was just rotated; the next request reads the new one
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.GONE,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)


def error_of_answer(doing: str, status: int, body: bytes, retry_after: str | None = None) -> ClusterError:
    """The error for an answer that is not a success.

    Args:
        doing: what was asked, in words: "create Job team-a/sft-1".
        status: HTTP status code.
        body: what the API server said, a metav1.Status as JSON; anything else is quoted.
        retry_after: header of that name.
    """
    reason, text = _status_of(body)
    message = f"cannot {doing}: {text or _phrase(status)} (HTTP {status})"
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(message, reason or "NotFound")
    if status == HTTPStatus.CONFLICT:
        return ConflictError(message, reason or "Conflict")
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError(message, reason or "Unavailable", _seconds(retry_after))
    return RejectedError(message, reason or "Rejected")


def error_of_exchange(doing: str, error: Exception) -> UnavailableError:
    """The error for a request that got no answer: no connection, a broken one, or a timeout."""
    return UnavailableError(f"cannot {doing}: {type(error).__name__} {error}".rstrip(), type(error).__name__)


def _seconds(retry_after: str | None) -> float:
    """Of a Retry-After header: the API server gives whole seconds; a date, as a proxy may give, counts for a second."""
    if retry_after is None:
        return 0.0
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 1.0


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"


def _status_of(body: bytes) -> tuple[str, str]:
    """Reason and message of a metav1.Status; a proxy in between may have answered with something else."""
    try:
        status = json.loads(body)
        return str(status.get("reason") or ""), str(status.get("message") or "")
    except (ValueError, AttributeError):
        return "", body[:500].decode(errors="replace").strip()
