"""What an endpoint means by an answer that is not 200. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from alignment_api.contract import Problem

from ...exceptions import ConfigurationError
from ...retrying import retry_after

_EXCERPT: Final = 500
_PASSES: Final = frozenset({408, 409, 425, 429})
"""Refusals that pass, besides those from 500 on."""

_OF_THE_QUESTION: Final = re.compile(
    r"context_length_exceeded|maximum context length|context (window|size|length)|"
    r"(prompt|input)\b.{0,40}\btoo (long|large)|content[_ ]filter|content management policy|content_policy",
    re.IGNORECASE | re.DOTALL,
)
"""Complaints about this question, where others may be answered."""


class Transient(Exception):
    """The same request may be answered later.

    Args:
        message: what the endpoint said, or how the connection ended.
        pause: seconds that it asks to wait.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class Unanswerable(Exception):
    """This question is not answered, though others may be."""


class Misunderstood(Exception):
    """The endpoint does not know something in the form of the request."""


def meaning(status: int, headers: Mapping[str, str], body: bytes, field: str, *, model: str) -> Exception:
    """The error that an answer with ``status`` stands for.

    Args:
        status: of the HTTP answer; not 200.
        headers: of the answer.
        body: of the answer, without secrets.
        field: path of the judge's ``llm`` in the manifest.
        model: name of the judge's model.

    Returns:
        Transient, Unanswerable, Misunderstood, or a ConfigurationError that names the field to change.
    """
    said = f"status {status}: {complaint(body) or 'without a word'}"
    if status in _PASSES or status >= 500:
        return Transient(said, retry_after(headers, datetime.now(UTC)))
    if status == 413 or (status in (400, 422) and _OF_THE_QUESTION.search(said)):
        return Unanswerable(said)
    if status in (400, 422):
        return Misunderstood(said)
    return refused(status, said, field, model=model)


def refused(status: int, said: str, field: str, *, model: str) -> ConfigurationError:
    """The error for a request that the endpoint will never take; ``said`` is its status and complaint."""
    about = said.casefold()
    if status in (401, 403):
        member, advice = "tokenSecretRef", "name a Secret whose key the endpoint takes"
    elif 300 <= status < 400:
        member, advice = "url", "set url to where the API is"
    elif status in (400, 422) and "temperature" in about:
        member, advice = "temperature", "set it to a value that the model takes"
    elif status in (400, 422) and ("max_tokens" in about or "max_completion_tokens" in about):
        member, advice = "maxResponseTokens", "set it to a value that the model takes"
    elif status in (400, 404, 422) and "model" in about:
        member, advice = "model", f"{model!r} must be the name of a model that the endpoint serves"
    else:
        member, advice = "url", "it must be the base address of an OpenAI-compatible API, such as https://host/v1"
    message = f"the judge's endpoint refuses with {said}; {advice}"
    return ConfigurationError(message, [Problem(field=f"{field}.{member}", message=message)])


def complaint(body: bytes) -> str:
    """The beginning of what the endpoint says is wrong, in one line."""
    text = body.decode(errors="replace")
    try:
        value = _message_of(json.loads(text))
    except (ValueError, RecursionError):
        value = text
    return excerpt(value)


def excerpt(text: str) -> str:
    """The beginning of ``text`` in one line."""
    line = " ".join(text[: 4 * _EXCERPT].split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 3] + "..."


def _message_of(value: Any) -> str:
    """``{"error": {"message": ..., "code": ...}}`` and what others make of it."""
    if isinstance(value, dict):
        for key in ("error", "message", "detail"):
            if value.get(key):
                code = value.get("code") if key == "message" else None
                return " ".join(filter(None, (_message_of(value[key]), f"({code})" if code else "")))
    return value if isinstance(value, str) else json.dumps(value)
