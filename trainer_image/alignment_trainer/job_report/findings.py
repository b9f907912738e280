"""What a reader of the report must know first: failures, stops, restarts, doubtful data, gates that fail. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Method

from .model import Attempt, DataReport, EvaluationReport, Finding, Severity, StageReport, State

_LONGER: Final = 0.7
"""Fraction of pairs whose chosen response is longer, from which on length itself is likely to be learned."""

_CUT: Final = 0.2
"""Fraction of training rows longer than maxLength that is worth a warning."""

_UNBALANCED: Final = 0.1
_FEW_PROMPTS: Final = 100
"""Prompts below which the interval of a win rate is wider than 20 percentage points."""

_ORDER: Final = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


def findings(stages: Sequence[StageReport], problems: Iterable[Problem]) -> list[Finding]:
    """All findings, the worst first."""
    found = [Finding(severity=Severity.ERROR, text=str(problem)) for problem in problems]
    for stage in stages:
        found += _of_attempts(stage)
        if stage.data is not None:
            found += _of_rows(stage.name, stage.data)
            if stage.method != Method.EVALUATE:
                found += _of_training_rows(stage.name, stage.data)
        if stage.evaluation is not None:
            found += _of_evaluation(stage.name, stage.evaluation)
    return sorted(_together(found), key=lambda finding: _ORDER.index(finding.severity))


def _together(found: Iterable[Finding]) -> list[Finding]:
    """Findings that stages share, such as those with the same data, once."""
    merged: dict[tuple[Severity, str, str | None], Finding] = {}
    for finding in found:
        key = (finding.severity, finding.text, finding.evidence)
        earlier = merged.get(key)
        stages = [*earlier.stages, *finding.stages] if earlier is not None else finding.stages
        merged[key] = finding.model_copy(update={"stages": list(dict.fromkeys(stages))})
    return list(merged.values())


def _of_attempts(stage: StageReport) -> Iterator[Finding]:
    for attempt in stage.attempts:
        if attempt.state in (State.FAILED, State.LOST, State.STOPPED):
            last = attempt is stage.attempts[-1] and stage.state is State.FAILED
            severity = Severity.ERROR if last else Severity.WARNING
            if attempt.state is State.STOPPED:
                severity = Severity.NOTE
            yield Finding(
                severity=severity,
                stages=[stage.name],
                text=f"attempt {attempt.number} {_end(attempt)}",
                evidence=attempt.evidence,
            )


def _end(attempt: Attempt) -> str:
    said = f": {attempt.message}" if attempt.message else ""
    lost = f" ({attempt.lost_steps} steps were done again)" if attempt.lost_steps else ""
    if attempt.state is State.LOST:
        return f"was lost without a word, with its Pod or node{lost}"
    if attempt.state is State.STOPPED:
        return f"was told to stop{said}{lost}"
    return f"failed with {attempt.reason or 'an error'}{said}{lost}"


def _of_rows(stage: str, data: DataReport) -> Iterator[Finding]:
    for limit in data.limits:
        if limit.limit is not None and limit.fraction > limit.limit:
            text = f"{limit.rows} of {limit.of} rows: {limit.counts} ({limit.field} allows {limit.limit:.3g})"
            yield Finding(severity=Severity.ERROR, stages=[stage], text=text)
    if data.leaked_rows:
        text = f"{data.leaked_rows} held-out rows have a prompt that is trained on too: what they show is flattered"
        yield _warning(stage, text)
    if data.invalid_rows:
        yield _warning(stage, f"{data.invalid_rows} of {data.rows} rows are invalid and were dropped")


def _of_training_rows(stage: str, data: DataReport) -> Iterator[Finding]:
    if data.near_identical_rows:
        text = f"{data.near_identical_rows} pairs differ only in case, spaces and punctuation: they teach nothing"
        yield _warning(stage, text)
    if data.train_rows and data.truncated_rows > _CUT * data.train_rows:
        yield _warning(stage, f"{data.truncated_rows} of {data.train_rows} training rows are longer than maxLength")
    if data.chosen_longer_fraction is not None and data.chosen_longer_fraction > _LONGER:
        share = f"{100 * data.chosen_longer_fraction:.0f} %"
        yield _warning(
            stage, f"the chosen response is the longer one in {share} of the pairs: length itself may be learned"
        )
    balance = data.desirable_fraction
    if balance is not None and not _UNBALANCED <= balance <= 1 - _UNBALANCED:
        yield _warning(stage, f"{100 * balance:.0f} % of the labelled rows are good: the other side is hardly seen")


def _of_evaluation(stage: str, evaluation: EvaluationReport) -> Iterator[Finding]:
    results = evaluation.results
    if 0 < results.prompts < _FEW_PROMPTS:
        points = 98 / math.sqrt(results.prompts)  # half of the 95 % interval of a share of one half
        text = f"only {results.prompts} prompts: a win rate up to {50 + points:.0f} % can be chance"
        yield _warning(stage, text)
    for problem in results.problems:
        yield _warning(stage, problem)
    for judge in results.judges:
        for problem in judge.problems:
            yield _warning(stage, f"judge {judge.name}: {problem}")
    for candidate in results.candidates:
        failed = [gate for gate in candidate.gates if not gate.passed]
        if failed:
            names = ", ".join(gate.metric for gate in failed)
            count = f"{len(failed)} of {len(candidate.gates)} gates"
            severity = Severity.ERROR if candidate.chosen else Severity.NOTE
            yield Finding(severity=severity, stages=[stage], text=f"{candidate.name} does not pass {count}: {names}")


def _warning(stage: str, text: str) -> Finding:
    return Finding(severity=Severity.WARNING, stages=[stage], text=text)
