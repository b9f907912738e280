"""One question after the other to a language model, each until it is answered or given up on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1.evaluation.judges import LlmJudge

from ...data.rows import Message
from ...exceptions import ConfigurationError, UnavailableError
from ...retrying import pauses
from .budget import Budget, Spent
from .endpoint import Endpoint, Reply
from .http_errors import Transient, Unanswerable
from .pace import Pace
from .rubrics import reminded
from .verdict_cache import VerdictCache, digest
from .verdicts import Ruling, parse

OUTAGE: Final = 3
"""Questions in a row that are given up on without an answer in between: the endpoint is gone, no question is bad."""

HOPELESS: Final = 20
"""Questions that are answered without one ruling: the model cannot judge, and the others would be paid for in vain."""

_LONGEST_WAIT: Final = 300.0
"""Seconds; no endpoint is waited for longer at once, whatever it asks."""

_TOKENS_AROUND: Final = 256
"""Tokens that a chat template and the form of the answer add to a question, at most."""


class NoRuling(Exception):
    """A question has no answer that says which response is better; the message says why."""


@dataclass(frozen=True)
class Patience:
    """How long to wait before a request is repeated.

    Attributes:
        first: seconds after the first failure, less a random part; they double with each one.
        longest: most seconds.
    """

    first: float = 0.5
    longest: float = 60.0


class Asker:
    """Asks one judge.

    Args:
        judge: the judge.
        field: path of its ``llm`` in the manifest.
        endpoint: where it is asked.
        cache: where rulings are kept.
        budget: what may be spent.
        pace: when requests may be sent.
        patience: pauses between repeated requests.
        proven: whether the judge is known to give rulings.
    """

    def __init__(
        self,
        judge: LlmJudge,
        field: str,
        endpoint: Endpoint,
        cache: VerdictCache,
        budget: Budget,
        pace: Pace,
        patience: Patience,
        *,
        proven: bool,
    ) -> None:
        self._judge = judge
        self._field = field
        self._endpoint = endpoint
        self._cache = cache
        self._budget = budget
        self._pace = pace
        self._patience = patience
        self._proven = proven
        self._answers = 0
        self._lost = 0
        self._last_loss = ""
        self._stopped = asyncio.Event()

    @property
    def stopped(self) -> bool:
        """Whether nothing more is sent."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Take in what is under way, and send nothing more."""
        self._stopped.set()

    async def reserve(self, questions: Sequence[list[Message]]) -> bool:
        """Set aside what it takes to send each of ``questions`` once; False if the budget does not cover that."""
        return await self._budget.reserve(len(questions), sum(map(self._most_tokens, questions)))

    def release(self, questions: Sequence[list[Message]]) -> None:
        """Give back what was reserved for ``questions`` that will not be asked."""
        self._budget.release(len(questions), sum(map(self._most_tokens, questions)))

    async def ask(self, question: list[Message]) -> Ruling:
        """The ruling on ``question``, for which `reserve` was called; it is kept before this returns.

        Raises:
            NoRuling: there is none.
            ConfigurationError: the endpoint takes no such requests, or the model gives no rulings.
            UnavailableError: the endpoint is gone.
        """
        waits = pauses(self._patience.first, self._patience.longest)
        wording, was_answered, problem = question, False, ""
        for repeats_left in range(self._judge.retries, -1, -1):
            try:
                reply = await self._request(wording, held=repeats_left == self._judge.retries)
            except Transient as error:
                problem = str(error)
                if repeats_left:
                    await self._wait(next(waits), error.pause)
                continue
            except Unanswerable as error:
                problem = f"the endpoint does not answer this question: {error}"
                self._note_answer(problem)
                raise NoRuling(problem) from None
            ruling = parse(reply.text)
            if ruling is not None:
                self._note_ruling()
                await asyncio.to_thread(self._keep, question, ruling)
                self._budget.count_ruling()
                return ruling
            was_answered, problem = True, f"the answer is no verdict: {reply.shown!r}"
            wording = reminded(question)
        if was_answered:
            self._note_answer(problem)
        else:
            self._note_loss(problem)
        raise NoRuling(f"given up after {self._judge.retries + 1} requests; {problem}")

    def finish(self) -> None:
        """Look back when all questions were asked.

        Raises:
            UnavailableError: none was answered.
        """
        if self._lost and not self._answers:
            raise self._outage(self._last_loss)

    async def _request(self, question: list[Message], *, held: bool) -> Reply:
        """The answer to one request, in a form that the endpoint understands."""
        most = self._most_tokens(question)
        while True:
            await self._pace.turn()
            if self.stopped:
                self._budget.release(int(held), most if held else 0)
                raise NoRuling("another question has failed")
            if not held and not self._budget.hold(1, most):
                raise NoRuling(self.beyond_budget)
            held, cost = False, Spent()
            self._budget.begin()
            try:
                reply = await self._endpoint.ask(question)
                if reply is not None:
                    cost = self._cost(reply, most)
                    return reply
            finally:
                self._budget.settle(most, cost)

    @property
    def beyond_budget(self) -> str:
        """Why a question is not asked that the budget does not cover."""
        limits = {"maxCalls": self._judge.max_calls, "maxTokens": self._judge.max_tokens}
        names = " and ".join(f"{name} {limit}" for name, limit in limits.items() if limit is not None)
        return f"beyond the judge's budget ({names})"

    def _most_tokens(self, question: list[Message]) -> int:
        """Tokens of a request and its answer at most: no token of text is shorter than a byte."""
        size = sum(len(turn["content"].encode()) for turn in question)
        return size + _TOKENS_AROUND + self._judge.max_response_tokens

    def _cost(self, reply: Reply, most: int) -> Spent:
        if reply.tokens_in is None or reply.tokens_out is None:  # it does not count: as many as it can have been
            longest = self._judge.max_response_tokens
            return Spent(tokens_in=most - longest, tokens_out=longest)
        return Spent(tokens_in=reply.tokens_in, tokens_out=reply.tokens_out)

    def _keep(self, question: list[Message], ruling: Ruling) -> None:
        self._cache.put(digest(self._judge, question), ruling, self._judge.model)
        self._budget.sync()

    async def _wait(self, pause: float, asked: float) -> None:
        """Let some time pass, at random so that those who failed together do not come back together."""
        self._pace.pause(min(asked, _LONGEST_WAIT))
        try:
            await asyncio.wait_for(self._stopped.wait(), pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
        except TimeoutError:
            return

    def _note_ruling(self) -> None:
        self._answers += 1
        self._lost = 0
        self._proven = True

    def _note_answer(self, problem: str) -> None:
        self._answers += 1
        self._lost = 0
        if not self._proven and self._answers == HOPELESS:  # said once
            message = (
                f"model {self._judge.model!r} ruled on none of {self._answers} questions ({problem}): name a model "
                "that can answer with JSON, or raise maxResponseTokens"
            )
            raise ConfigurationError(message, [Problem(field=f"{self._field}.model", message=message)])

    def _note_loss(self, problem: str) -> None:
        self._lost += 1
        self._last_loss = problem
        if self._lost == OUTAGE:  # said once, though others fail with this one
            raise self._outage(problem)

    def _outage(self, problem: str) -> UnavailableError:
        message = (
            f"the judge's endpoint gave no answer to {self._lost} questions in a row, each sent "
            f"{self._judge.retries + 1} times; {problem}. Verdicts so far are kept"
        )
        return UnavailableError(message, [Problem(field=f"{self._field}.url", message=message)])
