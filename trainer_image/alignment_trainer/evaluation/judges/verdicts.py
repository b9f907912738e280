"""What a judge says of two responses, and what follows for the candidate. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

LONGEST_REASON: Final = 2000
_LONGEST_ANSWER: Final = 200_000
"""Characters; what is longer is no verdict with a reason."""

_MOST_BRACES: Final = 1000
"""Braces among the words of an answer: each is looked at."""

_THOUGHT: Final = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


class Choice(StrEnum):
    """The better response, by its place in the question."""

    A = "A"
    B = "B"
    TIE = "tie"


@dataclass(frozen=True)
class Ruling:
    """The judge's answer to one question: two responses in one order.

    Attributes:
        choice: the better one.
        reason: why, in the judge's words.
    """

    choice: Choice
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What follows from the rulings on one comparison.

    Attributes:
        outcome: 1 if the candidate is better, 0 if the baseline is, 0.5 for a tie; None without a verdict.
        rulings: the answers, in one or both orders. Empty if the responses are the same.
        places: which response was the candidate's in each of them, A or B.
        problem: why there is no verdict.
    """

    outcome: float | None
    rulings: tuple[Ruling, ...] = ()
    places: tuple[Choice, ...] = ()
    problem: str | None = None

    @property
    def reason(self) -> str:
        """Why it is so, for people: the judge's words in each order, or why there is no verdict."""
        if self.problem is not None:
            return self.problem
        if not self.rulings:
            return "the responses are the same"
        said = zip(self.places, self.rulings, strict=True)
        return "\n\n".join(f"[{place} is the candidate] {ruling.choice}: {ruling.reason}" for place, ruling in said)


@dataclass(frozen=True)
class PositionBias:
    """How much a judge's rulings depend on the order of the responses.

    Attributes:
        pairs: comparisons that were ruled on in both orders.
        inconsistent: share of them in which the two rulings are not the same; None without any.
        first_place: share of place A among all rulings that name a better response; 0.5 of a judge without bias.
    """

    pairs: int
    inconsistent: float | None
    first_place: float | None


def parse(text: str) -> Ruling | None:
    """The ruling in a judge's answer; None if there is none, or if there are several that differ.

    JSON may stand alone, in a code fence, or among other words; thoughts of a reasoning model are skipped. A ruling is
    an object with ``verdict``; that of an object inside of another one does not count.
    """
    if len(text) > _LONGEST_ANSWER or text.count("{") > _MOST_BRACES:
        return None
    found = [ruling for value in _objects(_THOUGHT.sub("", text)) if (ruling := _ruling(value)) is not None]
    if len({ruling.choice for ruling in found}) != 1:
        return None
    return found[-1]


def verdict(rulings: Mapping[Choice, Ruling]) -> Verdict:
    """The verdict on a comparison from its ruling, or from those of both orders, by the candidate's place.

    Of two rulings the candidate wins or loses if both say so; it is a tie if they differ, as with Zheng et al., 2023
    (arXiv:2306.05685, section 3.4).
    """
    outcomes = {_outcome(ruling.choice, place) for place, ruling in rulings.items()}
    return Verdict(outcomes.pop() if len(outcomes) == 1 else 0.5, tuple(rulings.values()), tuple(rulings))


def position_bias(verdicts: Sequence[Verdict]) -> PositionBias:
    """How much the rulings of ``verdicts`` depend on the order."""
    pairs = [list(zip(one.places, one.rulings, strict=True)) for one in verdicts if len(one.rulings) == 2]
    differing = sum(len({_outcome(ruling.choice, place) for place, ruling in pair}) > 1 for pair in pairs)
    decided = [ruling.choice for one in verdicts for ruling in one.rulings if ruling.choice is not Choice.TIE]
    return PositionBias(
        pairs=len(pairs),
        inconsistent=differing / len(pairs) if pairs else None,
        first_place=decided.count(Choice.A) / len(decided) if decided else None,
    )


def _outcome(choice: Choice, candidate: Choice) -> float:
    if choice is Choice.TIE:
        return 0.5
    return 1.0 if choice is candidate else 0.0


class _Ambiguous(ValueError):
    """An object says the same thing twice."""


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects in ``text``."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats)
    start = text.find("{")
    while start >= 0:
        end = start + 1
        try:
            value, end = decoder.raw_decode(text, start)
        except (_Ambiguous, RecursionError):
            return
        except ValueError:
            pass  # a brace among other words
        else:
            yield value
        start = text.find("{", end)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Ambiguous
    return value


def _ruling(value: dict[str, Any]) -> Ruling | None:
    said, reason = value.get("verdict"), value.get("reason", "")
    if not isinstance(said, str) or not isinstance(reason, str):
        return None
    word = said.strip().casefold().removeprefix("response").strip()
    choice = next((choice for choice in Choice if choice.casefold() == word), None)
    # JSON may escape half a character, which no file can hold.
    text = reason.encode("utf-8", "replace").decode()
    return Ruling(choice, text[:LONGEST_REASON]) if choice is not None else None
