"""Prompts of an evaluation with every model's response: the most changed ones and a random sample."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any, Final

from alignment_api.v1alpha1.evaluation.evaluate import BASELINE

from ..evaluation.results import EvaluationResults
from . import reading
from .model import Judgement, Response, Sample

MAX_BYTES_READ: Final = 512 << 20
"""Of the responses; prompts that stand further behind are not shown."""

MAX_REASON: Final = 1000
"""Bytes of a judge's words on one response."""


def samples_of(
    results: EvaluationResults, responses: Path, *, each: int, text_bytes: int, most_text: int
) -> list[Sample]:
    """The samples of an evaluation; fewer if the responses cannot be read.

    Args:
        results: what was found.
        responses: its ``responses.jsonl``.
        each: how many of the most changed, and of the random ones.
        text_bytes: all texts together, in bytes of UTF-8.
        most_text: the longest text, in bytes.
    """
    similarity = _changed(results, each)
    others = [number for number in range(results.prompts) if number not in similarity]
    drawn = random.Random(results.generation.seed).sample(others, min(each, len(others)))  # noqa: S311 - no secret
    wanted = [*similarity, *sorted(drawn)]
    records = reading.numbered_lines(responses, set(wanted), MAX_BYTES_READ)
    best_first = sorted(results.candidates, key=lambda candidate: not candidate.chosen)
    names = [results.baseline.name, *(candidate.name for candidate in best_first)]
    texts = max(1, len(records) * (len(names) + 1))
    longest = min(most_text, text_bytes // texts)
    return [
        sample
        for number in wanted
        if (sample := _sample(number, records.get(number), names, similarity.get(number), longest)) is not None
    ]


def _changed(results: EvaluationResults, most: int) -> dict[int, float]:
    """The prompts whose responses changed most, of all candidates in turn -> similarity."""
    found: dict[int, float] = {}
    lists = [candidate.changed for candidate in results.candidates]
    for rank in range(max(map(len, lists), default=0)):
        for changed in lists:
            if rank < len(changed) and len(found) < most and changed[rank].similarity < 1:
                found.setdefault(changed[rank].prompt, changed[rank].similarity)
    return found


def _sample(number: int, record: Any, names: list[str], similarity: float | None, longest: int) -> Sample | None:
    if not isinstance(record, dict):
        return None
    answers = record.get("responses")
    answers = answers if isinstance(answers, dict) else {}
    responses = [_response(name, answers[name], longest) for name in names if isinstance(answers.get(name), dict)]
    return Sample(
        prompt_number=number,
        chosen_as="random" if similarity is None else "changed",
        similarity=similarity,
        prompt=_prompt(record.get("prompt"), longest),
        responses=responses,
        judgements=_judgements(record.get("judges")),
    )


def _response(name: str, answer: dict[str, Any], longest: int) -> Response:
    text = str(answer.get("text", ""))
    shown = _cut(text, longest)
    tokens, finish = answer.get("tokens"), answer.get("finishReason")
    return Response(
        model=name,
        text=shown,
        cut=len(shown) < len(text),
        tokens=tokens if isinstance(tokens, int) else None,
        finish_reason=finish if isinstance(finish, str) else None,
    )


def _prompt(messages: Any, longest: int) -> list[tuple[str, str]]:
    """Roles and contents; the end of a long conversation, which is what was asked."""
    if isinstance(messages, str):
        return [("user", _cut(messages, longest))]
    turns = [turn for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []
    kept: list[tuple[str, str]] = []
    for turn in reversed(turns):
        if longest <= 0:
            kept.append(("", "..."))
            break
        content = _cut(str(turn.get("content", "")), longest)
        longest -= len(content.encode())
        kept.append((str(turn.get("role", ""))[:64], content))
    return kept[::-1]


def _judgements(judges: Any) -> list[Judgement]:
    found = []
    for judge, said in _members(judges):
        if isinstance(said, dict):
            scores, reasons = dict(_members(said.get("scores"))), dict(_members(said.get("reasons")))
            for candidate, outcome in _members(said.get("outcomes")):
                reason = reasons.get(candidate)
                found.append(
                    Judgement(
                        judge=judge,
                        candidate=candidate,
                        outcome=_number(outcome),
                        score=_number(scores.get(candidate)),
                        baseline_score=_number(scores.get(BASELINE)),
                        reason=_cut(reason, MAX_REASON) if isinstance(reason, str) else None,
                    )
                )
    return found


def _members(value: Any) -> list[tuple[str, Any]]:
    return [(str(name), member) for name, member in value.items()] if isinstance(value, dict) else []


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _cut(text: str, longest: int) -> str:
    """The beginning of a text that takes no more than ``longest`` bytes in UTF-8."""
    return text.encode("utf-8", "replace")[: max(0, longest)].decode("utf-8", "ignore")
