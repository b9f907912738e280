"""The answer of a service."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import httpx2

from ..retrying import pauses, retry_after
from .checks import excerpt
from .scoring import Batch, Scorer, ScoringError, ServiceDownError, TermError

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_MAX_ANSWER: Final = 2**24
_BUSY: Final = frozenset({408, 425, 429})
"""Refusals that pass, besides those from 500 on."""


class HttpScorer(Scorer):
    """Asks a service, and again while it is down or busy, until the batch's time is over.

    Args:
        url: where batches are sent.
        token: bearer token, if the service needs one.
        timeout: seconds that a batch may take, all attempts together.

    Raises:
        ValueError: the address is none.
    """

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        try:
            self._url = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"{url!r} is no address: {error}") from error
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every request is no news
        self._client = httpx2.Client(headers=headers, follow_redirects=False)
        self._timeout = timeout

    def score(self, batch: Batch) -> Sequence[object]:
        """What the service answered.

        Raises:
            ServiceDownError: it could not be reached, or was busy or broken, until the time was over.
            ScoringError: it refuses the request, or its answer is not what is expected.
        """
        body = _request(batch)
        end = time.monotonic() + self._timeout
        problem = ""
        for pause in pauses(_FIRST_PAUSE, _LONGEST_PAUSE):
            left = end - time.monotonic()
            if left <= 0:
                break
            try:
                status, headers, content = self._post(body, end, left)
            except httpx2.TimeoutException as error:
                problem = problem or f"{type(error).__name__}: {error}"  # the last attempt may have had no time at all
            except httpx2.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            except httpx2.DecodingError as error:
                raise ScoringError(f"got an answer that cannot be decoded: {error}") from error
            else:
                if status < 500 and status not in _BUSY:
                    return _rewards(status, headers, content)
                problem = f"status {status}: {excerpt(content.decode(errors='replace'))}"
                pause = max(pause, retry_after(headers, datetime.now(UTC)))
            time.sleep(max(min(pause, end - time.monotonic()), 0))
        raise ServiceDownError(f"got no answer from {self._url} in timeoutSeconds {self._timeout:g}: {problem}")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post(self, body: bytes, end: float, left: float) -> tuple[int, Mapping[str, str], bytes]:
        """One request; the timeout of the client is between two bytes, so the total is watched here."""
        headers = {"Content-Type": "application/json"}
        content = bytearray()
        with self._client.stream("POST", self._url, content=body, headers=headers, timeout=left) as response:
            for part in response.iter_bytes():
                content += part
                if len(content) > _MAX_ANSWER:
                    raise ScoringError(f"got an answer of more than {_MAX_ANSWER} bytes from {self._url}")
                if time.monotonic() > end:
                    raise httpx2.ReadTimeout("the answer comes too slowly")
            return response.status_code, response.headers, bytes(content)


def _request(batch: Batch) -> bytes:
    request = {
        "prompts": batch.questions(),
        "completions": batch.completions,
        "conversations": batch.prompts,
        "columns": batch.columns,
    }
    try:
        return json.dumps(request, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise TermError(f"cannot send the dataset's columns as JSON: {error}") from error


def _rewards(status: int, headers: Mapping[str, str], content: bytes) -> Sequence[object]:
    text = excerpt(content.decode(errors="replace"))
    if 300 <= status < 400:
        raise ScoringError(f"is redirected to {headers.get('Location')}: set url to where the service is")
    if status != httpx2.codes.OK:
        raise ScoringError(f"is refused by the service with status {status}: {text}")
    try:
        answer: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise ScoringError(f"got an answer that is no JSON: {text}") from None
    rewards = answer.get("rewards") if isinstance(answer, dict) else None
    if not isinstance(rewards, list):
        raise ScoringError(f'got an answer that is not {{"rewards": [...]}}: {text}')
    return rewards
