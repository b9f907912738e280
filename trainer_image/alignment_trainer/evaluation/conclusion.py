"""What findings come to: estimates, gates, the chosen candidate, and the results that are kept. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from alignment_api.contract import JobLayout
from alignment_api.v1alpha1 import CandidateStatus, Evaluate, GateStatus, Judge
from alignment_api.v1alpha1.evaluation import COMPARATIVE_METRICS, RelativeTo
from alignment_api.v1alpha1.evaluation.evaluate import BASELINE

from ..models.export import ADAPTER_FOLDER
from . import agreement, candidates, changed, text_metrics
from .comparisons import Outcomes, measurements, outcomes_of
from .contestants import Contestant
from .estimates import Estimate, Unknown, estimate
from .findings import Findings
from .measurement import Measurement
from .results import (
    CONFIDENCE,
    Agreement,
    CandidateResult,
    ChangedPrompt,
    JudgeResult,
    MetricResult,
    ModelResult,
    Number,
    Tally,
)

_PROBLEMS: Final = 5
"""Reasons of a judge for giving no verdict that are told."""


@dataclass(frozen=True)
class Conclusion:
    """What findings come to.

    Attributes:
        outcomes: judge -> candidate -> how it fared on each prompt.
        baseline: the baseline.
        candidates: the candidates, in the order of the manifest.
        judges: the judges.
        gates: what each gate decided about the chosen candidate.
        statuses: the candidates in short.
    """

    outcomes: Mapping[str, Mapping[str, Outcomes]]
    baseline: ModelResult
    candidates: list[CandidateResult]
    judges: list[JudgeResult]
    gates: list[GateStatus]
    statuses: list[CandidateStatus]

    @property
    def problems(self) -> list[str]:
        """What could not be measured, and why."""
        found = [
            f"{candidate.name}: {metric.metric}{f' of {metric.of}' if metric.of else ''}: {metric.problem}"
            for candidate in self.candidates
            for metric in candidate.metrics
            if metric.problem is not None
        ]
        return found + [f"judge {judge.name}: {problem}" for judge in self.judges for problem in judge.problems]


def conclude(
    evaluate: Evaluate, contestants: Sequence[Contestant], findings: Findings, layout: JobLayout
) -> Conclusion:
    """What ``findings`` come to.

    Args:
        evaluate: the stage.
        contestants: the candidates in the order of the manifest, then the baseline.
        findings: what was found.
        layout: the job's folders.
    """
    outcomes = outcomes_of(findings, evaluate.judges)
    texts = {name: [answer.text for answer in answers] for name, answers in findings.responses.items()}
    of_texts = {name: text_metrics.series_of(own) for name, own in texts.items()}
    measured = {
        name: [
            *measurements(findings, outcomes, name),
            *text_metrics.measurements(name, of_texts[name], of_texts[BASELINE]),
            *(measurement for measurement in findings.measured if measurement.candidate == name),
        ]
        for name in findings.candidates
    }
    choice = candidates.choose(evaluate.gates, measured, [judge.name for judge in evaluate.judges])
    models = {contestant.name: _model(contestant, findings, layout) for contestant in contestants}
    found = [
        CandidateResult(
            **models[name].model_dump(),
            chosen=name == choice.name,
            passed=all(gate.passed for gate in choice.gates[name]) if evaluate.gates else None,
            metrics=[metric_of(measurement) for measurement in own],
            gates=choice.gates[name],
            tallies=[_tally(judge, by_candidate[name]) for judge, by_candidate in outcomes.items()],
            agreements=_agreements(outcomes, name),
            changed=[
                ChangedPrompt(prompt=index, similarity=similarity)
                for index, similarity in changed.most_changed(texts[BASELINE], texts[name])
            ],
        )
        for name, own in measured.items()
    ]
    judges = [_judge(judge, findings) for judge in evaluate.judges]
    return Conclusion(outcomes, models[BASELINE], found, judges, choice.gates[choice.name], choice.candidates)


def metric_of(measurement: Measurement) -> MetricResult:
    """A metric with its intervals, and those of the baseline and of the difference to it."""
    own = estimate(measurement, confidence=CONFIDENCE)
    baseline = difference = None
    if measurement.metric not in COMPARATIVE_METRICS:
        baseline = estimate(replace(measurement, own=measurement.baseline), confidence=CONFIDENCE)
        difference = estimate(measurement, relative_to=RelativeTo.DIFFERENCE, confidence=CONFIDENCE)
    return MetricResult(
        metric=measurement.metric.value,
        of=measurement.of,
        own=_number(own) or Number(),
        baseline=_number(baseline),
        difference=_number(difference),
        samples=own.samples if isinstance(own, Estimate) else 0,
        problem=own.reason if isinstance(own, Unknown) else measurement.problem,
    )


def _number(found: Estimate | Unknown | None) -> Number | None:
    return Number(value=found.value, lower=found.lower, upper=found.upper) if isinstance(found, Estimate) else None


def _model(contestant: Contestant, findings: Findings, layout: JobLayout) -> ModelResult:
    path = layout.relative(contestant.folder)
    return ModelResult(
        name=contestant.name,
        path=path,
        adapter_path=f"{path}/{ADAPTER_FOLDER}" if contestant.has_adapter else None,
        digest=contestant.digest,
        response_tokens=sum(answer.tokens for answer in findings.responses[contestant.name]),
    )


def _tally(judge: str, outcomes: Outcomes) -> Tally:
    counts = Counter(outcomes)
    return Tally(judge=judge, wins=counts[1.0], ties=counts[0.5], losses=counts[0.0], without_verdict=counts[None])


def _agreements(outcomes: Mapping[str, Mapping[str, Outcomes]], name: str) -> list[Agreement]:
    found = []
    for one, other in combinations(outcomes, 2):
        kappa = agreement.kappa(outcomes[one][name], outcomes[other][name])
        number = Number(value=kappa.value, lower=kappa.lower, upper=kappa.upper)
        found.append(Agreement(judges=(one, other), kappa=number, samples=kappa.samples))
    return found


def _judge(judge: Judge, findings: Findings) -> JudgeResult:
    kind = "rewardModel" if judge.reward_model is not None else "llm" if judge.llm is not None else "heuristic"
    costs = findings.costs.get(judge.name)
    if costs is None:
        return JudgeResult(name=judge.name, kind=kind)
    problems = Counter(
        verdict.problem
        for verdicts in findings.verdicts[judge.name].values()
        for verdict in verdicts
        if verdict.problem is not None
    )
    return JudgeResult(
        name=judge.name,
        kind=kind,
        calls=costs.calls,
        tokens_in=costs.tokens_in,
        tokens_out=costs.tokens_out,
        reused=costs.reused,
        inconsistent=costs.bias.inconsistent,
        first_place=costs.bias.first_place,
        problems=[f"{count} comparisons: {problem}" for problem, count in problems.most_common(_PROBLEMS)],
    )
