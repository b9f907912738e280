"""Looks at judges before any gang exists: an endpoint that is not there, or does not know the key, is found here."""

from __future__ import annotations

import difflib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx2

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.evaluation.judges import LlmJudge

from ...exceptions import TrainerError, UnavailableError
from ...retrying import pauses
from .endpoint import address, authorization, hidden, key
from .http_errors import complaint, refused

_log = logging.getLogger(__name__)

_TRIES: Final = 3
_FIRST_PAUSE: Final = 0.5
_LONGEST_WAIT: Final = 30.0
"""Seconds for one answer."""


def check(stage: Stage, path: str, variables: Mapping[str, str] = os.environ) -> Iterator[TrainerError]:
    """What is wrong with the endpoints of the stage's judges; no verdict is asked for, so nothing is paid.

    Args:
        stage: any stage.
        path: its path in the manifest.
        variables: environment variables, of which some hold API keys.
    """
    for index, judge in enumerate(stage.evaluate.judges if stage.evaluate is not None else ()):
        if judge.llm is not None:
            try:
                check_endpoint(judge.llm, f"{path}.evaluate.judges[{index}].llm", variables)
            except TrainerError as error:
                yield error


def check_endpoint(judge: LlmJudge, field: str, variables: Mapping[str, str]) -> None:
    """Ask the endpoint for its models, which not all of them tell.

    Raises:
        ConfigurationError: it does not take the key.
        UnavailableError: it cannot be reached.
    """
    secret = key(judge, field, variables)
    url = address(judge, field, "models")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    problem = ""
    timeout = min(judge.timeout_seconds, _LONGEST_WAIT)
    with httpx2.Client(headers=authorization(secret), follow_redirects=False, timeout=timeout) as client:
        for _, pause in zip(range(_TRIES), pauses(_FIRST_PAUSE, _LONGEST_WAIT), strict=False):
            try:
                answer = client.get(url)
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                body = hidden(answer.content, secret)
                said = f"status {answer.status_code}: {complaint(body) or 'without a word'}"
                if answer.status_code < 500:
                    _judge_answer(answer.status_code, body, said, judge, field)
                    return
                problem = said
            time.sleep(pause)
    shown = url.copy_with(userinfo=b"", query=None)
    message = f"the judge's endpoint {shown} does not answer: {problem}"
    raise UnavailableError(message, [Problem(field=f"{field}.url", message=message)])


def _judge_answer(status: int, body: bytes, said: str, judge: LlmJudge, field: str) -> None:
    # A key that may do no more than ask models is a good one.
    may_not_list = status == 403 and "scope" in said.casefold()
    if (status in (401, 403) and not may_not_list) or 300 <= status < 400:
        raise refused(status, said, field, model=judge.model)
    if status != httpx2.codes.OK:
        _log.info("%s: the endpoint does not tell its models (%s)", field, said)
        return
    served = models(body)
    if served and judge.model not in served:
        close = difflib.get_close_matches(judge.model, served, n=3)
        hint = f"; it serves {', '.join(close)}" if close else ""
        _log.warning("%s.model: the endpoint does not list a model %r%s", field, judge.model, hint)


def models(body: bytes) -> list[str]:
    """Names in the answer to ``GET /models``; empty if it is something else."""
    try:
        value: Any = json.loads(body)
        return [entry["id"] for entry in value["data"] if isinstance(entry["id"], str)]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
