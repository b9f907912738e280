"""A language model behind an OpenAI-compatible endpoint: one request at a time, and what came of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx2

from alignment_api.contract import Problem, token_variable
from alignment_api.v1alpha1.evaluation.judges import LlmJudge

from ...data.rows import Message
from ...exceptions import ConfigurationError
from .dialect import Dialect
from .http_errors import Misunderstood, Transient, Unanswerable, excerpt, meaning, refused

_LARGEST_ANSWER: Final = 2**22
_HIDDEN: Final = b"***"


@dataclass(frozen=True)
class Reply:
    """An answer of the model.

    Attributes:
        text: what it said; empty if it said nothing, or not as such an endpoint does.
        shown: the beginning of what came, for messages.
        tokens_in: tokens of the request, as the endpoint counts them; None if it does not.
        tokens_out: tokens of the answer.
    """

    text: str
    shown: str
    tokens_in: int | None
    tokens_out: int | None


class Endpoint:
    """Asks one model; to be used as an asynchronous context manager.

    Args:
        judge: where it is, what it is called, and how it is asked.
        field: path of the judge's ``llm`` in the manifest.
        variables: environment variables, of which one holds the key.

    Raises:
        ConfigurationError: there is no key, or it is none, or the address is none.
    """

    def __init__(self, judge: LlmJudge, field: str, variables: Mapping[str, str]) -> None:
        self._judge = judge
        self._field = field
        self._url = address(judge, field, "chat/completions")
        self._key = key(judge, field, variables)
        self._dialect = Dialect()
        self._understood = False
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every request is no news
        self._client = httpx2.AsyncClient(
            headers=authorization(self._key),
            follow_redirects=False,
            timeout=judge.timeout_seconds,
            limits=httpx2.Limits(max_connections=judge.concurrency, max_keepalive_connections=judge.concurrency),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(self, messages: list[Message]) -> Reply | None:
        """Send one request.

        Returns:
            The answer; None if the request was not understood and is to be sent once more, in another form that
            later requests take too.

        Raises:
            Transient: the endpoint is busy, broken, slow or gone.
            Unanswerable: it does not answer this question.
            ConfigurationError: it answers none.
        """
        dialect = self._dialect
        status, headers, body = await self._post(dialect.request(self._judge, messages))
        if status != httpx2.codes.OK:
            error = meaning(status, headers, body, self._field, model=self._judge.model)
            if isinstance(error, Misunderstood):
                self._change(dialect, status, str(error))
                return None
            raise error
        self._understood = True
        return reply(body)

    def _change(self, dialect: Dialect, status: int, complaint: str) -> None:
        if dialect != self._dialect:
            return  # another request was told so before
        other = dialect.after(complaint, understood=self._understood)
        if other is None and self._understood:
            raise Unanswerable(complaint)  # requests of this form are answered
        if other is None:
            raise refused(status, complaint, self._field, model=self._judge.model)
        self._dialect = other

    async def _post(self, content: dict[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        limit = self._judge.timeout_seconds
        body = bytearray()
        try:
            # The client's timeout is between two bytes; this one is over all.
            async with (
                asyncio.timeout(limit),
                self._client.stream("POST", self._url, json=content) as response,
            ):
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _LARGEST_ANSWER:
                        raise Transient(f"an answer of more than {_LARGEST_ANSWER} bytes")
                return response.status_code, response.headers, hidden(bytes(body), self._key)
        except (TimeoutError, httpx2.TimeoutException):
            raise Transient(f"no whole answer in timeoutSeconds {limit}") from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise Transient(f"{type(error).__name__}: {error}") from None


def reply(body: bytes) -> Reply:
    """What the body of an answer says."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    message = _below(value, "choices", 0, "message")
    content, refusal = _below(message, "content"), _below(message, "refusal")
    tokens_in, tokens_out = (_below(value, "usage", name) for name in ("prompt_tokens", "completion_tokens"))
    counted = all(isinstance(count, int) and 0 <= count < 2**53 for count in (tokens_in, tokens_out))
    text = content if isinstance(content, str) else ""
    said = text or (refusal if isinstance(refusal, str) else "") or body.decode(errors="replace")
    return Reply(text, excerpt(said), tokens_in if counted else None, tokens_out if counted else None)


def key(judge: LlmJudge, field: str, variables: Mapping[str, str]) -> str | None:
    """The API key; None if the judge names none.

    Raises:
        ConfigurationError: it is not there, or cannot be sent.
    """
    if judge.token_secret_ref is None:
        return None
    variable = token_variable(judge.token_secret_ref)
    value = variables.get(variable, "").strip()
    if not value or not value.isascii() or not value.isprintable():
        what = "not there or empty" if not value else "more than one line of ASCII text, and no key"
        message = (
            f"the value of Secret {judge.token_secret_ref.name!r}, key {judge.token_secret_ref.key!r}, is {what} "
            f"(environment variable {variable}): put the API key there"
        )
        raise ConfigurationError(message, [Problem(field=f"{field}.tokenSecretRef", message=message)])
    return value


def authorization(key: str | None) -> dict[str, str]:
    """The header with the key, if there is one."""
    return {"Authorization": f"Bearer {key}"} if key is not None else {}


def hidden(body: bytes, key: str | None) -> bytes:
    """``body`` without the key, should the endpoint repeat it."""
    return body.replace(key.encode(), _HIDDEN) if key is not None else body


def address(judge: LlmJudge, field: str, below: str) -> httpx2.URL:
    """Address of a path below the base of the API, whose query stays.

    Raises:
        ConfigurationError: the base is no address.
    """
    try:
        base = httpx2.URL(judge.url)
    except httpx2.InvalidURL as error:
        message = f"{judge.url!r} is no address: {error}"
        raise ConfigurationError(message, [Problem(field=f"{field}.url", message=message)]) from error
    return base.copy_with(path=f"{base.path.rstrip('/')}/{below}")


def _below(value: Any, *path: str | int) -> Any:
    """What lies at ``path`` in decoded JSON; None if nothing does."""
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value
