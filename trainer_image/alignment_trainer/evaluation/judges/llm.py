"""Comparisons judged by a language model.

One process of the gang asks for all: a single event loop keeps more requests under way than endpoints take, and limits
on rate, concurrency and costs hold exactly. What is known is never asked again, what is answered is kept at once, and
an endpoint that is gone ends the attempt: the next one goes on with what is missing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from alignment_api.v1alpha1.evaluation.judges import LlmJudge

from ...data.rows import Message
from . import budget
from .asking import Asker, NoRuling, Patience
from .budget import Budget, Ledger
from .endpoint import Endpoint
from .pace import Pace
from .rubrics import Comparison, questions
from .verdict_cache import VerdictCache, digest
from .verdicts import Choice, PositionBias, Ruling, Verdict, position_bias, verdict

_log = logging.getLogger(__name__)

_PATIENCE: Final = Patience()

_LAST_ANSWERS: Final = 30.0
"""Seconds in which requests that are under way when one has failed may still be answered: they are paid for."""


@dataclass(frozen=True)
class Costs:
    """What judging took, for reports.

    Attributes:
        calls: requests that this evaluation sent, over all attempts, answered or not.
        tokens_in: their tokens.
        tokens_out: tokens of the answers.
        reused: rulings that were known from other evaluations, or from comparisons that stand there twice.
        without_verdict: comparisons that have no verdict.
        bias: how much the rulings depend on the order.
    """

    calls: int
    tokens_in: int
    tokens_out: int
    reused: int
    without_verdict: int
    bias: PositionBias


def costs(spent: Path, verdicts: Sequence[Verdict]) -> Costs:
    """What the verdicts of a whole evaluation took.

    Args:
        spent: as in `compare`.
        verdicts: on all comparisons.
    """
    used = budget.spent(spent)
    return Costs(
        calls=used.calls,
        tokens_in=used.tokens_in,
        tokens_out=used.tokens_out,
        reused=max(sum(len(one.rulings) for one in verdicts) - used.rulings, 0),
        without_verdict=sum(one.outcome is None for one in verdicts),
        bias=position_bias(verdicts),
    )


def compare(
    judge: LlmJudge,
    field: str,
    comparisons: Sequence[Comparison],
    *,
    cache: Path,
    spent: Path,
    attempt: int = 1,
    advance: Callable[[int], None] = lambda _: None,
    patience: Patience = _PATIENCE,
    variables: Mapping[str, str] = os.environ,
) -> list[Verdict]:
    """The verdict on each of ``comparisons``.

    They are taken in their order, so a budget that runs out leaves the last ones without a verdict: give those of
    several candidates prompt by prompt. Equal responses tie without a question, and comparisons that stand there twice
    are asked about once.

    Args:
        judge: the judge.
        field: path of its ``llm`` in the manifest, such as ``spec.stages[2].evaluate.judges[0].llm``.
        comparisons: what is to be compared.
        cache: folder of rulings, shared by all jobs.
        spent: folder that holds what this evaluation has spent on this judge, and on nothing else.
        attempt: number of the attempt; what earlier ones have spent counts.
        advance: called with the number of comparisons that were done since the last time.
        patience: pauses between repeated requests.
        variables: environment variables, of which one holds the API key.

    Raises:
        ConfigurationError: the endpoint takes no such requests, or the model gives no rulings.
        UnavailableError: the endpoint is gone; what it answered is kept.
    """
    kept = VerdictCache(cache)
    cases = [_Case.of(judge, comparisons[indices[0]], indices, kept) for indices in _places(comparisons)]
    known = sum(len(case.known) for case in cases)
    _log.info("%s: %d comparisons that differ, %d rulings are known", field, len(cases), known)

    ledger = Ledger(spent, attempt)

    async def run() -> list[Verdict]:
        limits = Budget(ledger, judge.max_calls, judge.max_tokens)
        pace = Pace(judge.requests_per_minute)
        async with Endpoint(judge, field, variables) as endpoint:
            asker = Asker(judge, field, endpoint, kept, limits, pace, patience, proven=known > 0)
            verdicts = await _all(cases, asker, judge.concurrency, advance)
            asker.finish()
            return verdicts

    try:
        verdicts = asyncio.run(run())
    finally:
        ledger.close()
    _log.info("%s: %d requests and %d tokens so far", field, ledger.total.calls, ledger.total.tokens)
    found = {index: one for case, one in zip(cases, verdicts, strict=True) for index in case.indices}
    return [found[index] for index in range(len(comparisons))]


@dataclass(frozen=True)
class _Case:
    """A comparison, as it is asked about.

    Attributes:
        judge: who is asked.
        comparison: what is compared.
        indices: where it stands.
        known: rulings that are kept, by the place of the candidate.
    """

    judge: LlmJudge
    comparison: Comparison
    indices: Sequence[int]
    known: Mapping[Choice, Ruling]

    @classmethod
    def of(cls, judge: LlmJudge, comparison: Comparison, indices: Sequence[int], cache: VerdictCache) -> _Case:
        case = cls(judge, comparison, indices, {})
        kept = {place: cache.get(digest(judge, question)) for place, question in case.questions().items()}
        return replace(case, known={place: ruling for place, ruling in kept.items() if ruling is not None})

    def questions(self) -> dict[Choice, list[Message]]:
        """By the place of the candidate; none about responses that are the same.

        They are not held: those of all comparisons take several times the memory of the responses.
        """
        if self.comparison.candidate == self.comparison.baseline:
            return {}
        return questions(self.judge, self.comparison)

    async def verdict(self, asker: Asker) -> Verdict:
        asked = self.questions()
        if not asked:
            return Verdict(0.5)
        rulings = dict(self.known)
        missing = [place for place in asked if place not in rulings]
        if not await asker.reserve([asked[place] for place in missing]):
            return _without(rulings, asker.beyond_budget)
        try:
            while missing:
                place = missing.pop(0)
                rulings[place] = await asker.ask(asked[place])
        except NoRuling as error:
            return _without(rulings, str(error))
        finally:
            asker.release([asked[place] for place in missing])
        return verdict({place: rulings[place] for place in asked})


def _without(rulings: Mapping[Choice, Ruling], problem: str) -> Verdict:
    return Verdict(None, tuple(rulings.values()), tuple(rulings), problem)


async def _all(cases: Sequence[_Case], asker: Asker, concurrency: int, advance: Callable[[int], None]) -> list[Verdict]:
    """Verdicts in the order of ``cases``, with ``concurrency`` of them under way at once."""
    verdicts: dict[int, Verdict] = {}
    todo = iter(enumerate(cases))

    async def work() -> None:
        for number, case in todo:
            found = await case.verdict(asker)
            if asker.stopped:
                return
            verdicts[number] = found
            advance(len(case.indices))

    tasks = [asyncio.create_task(work()) for _ in range(min(concurrency, len(cases)))]
    _, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    if others:
        asker.stop()
        await asyncio.wait(others, timeout=_LAST_ANSWERS)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    for error in [task.exception() for task in tasks if not task.cancelled()]:
        if error is not None:
            raise error
    return [verdicts[number] for number in range(len(cases))]


def _places(comparisons: Sequence[Comparison]) -> list[list[int]]:
    """Where each comparison stands, in the order in which they come first."""
    places: dict[str, list[int]] = {}
    for index, comparison in enumerate(comparisons):
        texts = json.dumps([comparison.prompt, comparison.candidate, comparison.baseline], sort_keys=True)
        places.setdefault(sha256(texts.encode()).hexdigest(), []).append(index)
    return list(places.values())
