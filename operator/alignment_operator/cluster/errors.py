"""Translates what can go wrong in a request, once, into the operator's own errors."""

from __future__ import annotations

import json
from http import HTTPStatus

from ..exceptions import ClusterError, NotFoundError, RejectedError, UnavailableError

_LATER = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,  # the token was just rotated; the next request reads the new one
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.GONE,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)


def error_of_answer(doing: str, status: int, body: bytes) -> ClusterError:
    """The error for an answer that is not a success.

    Args:
        doing: what was asked, in words: "create Job team-a/sft-1".
        status: HTTP status code.
        body: what the API server said, a metav1.Status as JSON; anything else is quoted.
    """
    reason, text = _status_of(body)
    message = f"cannot {doing}: {text or HTTPStatus(status).phrase} (HTTP {status})"
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(message, reason or "NotFound")
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError(message, reason or "Unavailable")
    return RejectedError(message, reason or "Rejected")


def error_of_exchange(doing: str, error: Exception) -> UnavailableError:
    """The error for a request that got no answer: no connection, a broken one, or a timeout."""
    return UnavailableError(f"cannot {doing}: {type(error).__name__} {error}".rstrip(), type(error).__name__)


def _status_of(body: bytes) -> tuple[str, str]:
    """Reason and message of a metav1.Status; a proxy in between may have answered with something else."""
    try:
        status = json.loads(body)
        return str(status.get("reason") or ""), str(status.get("message") or "")
    except (ValueError, AttributeError):
        return "", body[:500].decode(errors="replace").strip()
