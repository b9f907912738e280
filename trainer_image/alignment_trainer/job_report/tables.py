"""What the page's tables show of an evaluation. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alignment_api.v1alpha1 import GateStatus

from ..evaluation.results import CandidateResult, EvaluationResults, MetricResult, Number, Tally
from .model import JobReport

_NAMES: Final = {
    "winRate": "Win rate",
    "lengthControlledWinRate": "Win rate at equal length",
    "preferenceAccuracy": "Preference accuracy",
    "preferenceMargin": "Preference margin (nats)",
    "kl": "KL from the baseline (nats per token)",
    "score": "Score",
    "responseTokens": "Response length (tokens)",
    "finished": "Responses ended by the model",
    "refusals": "Refusals",
    "repetition": "Repeated 4-grams",
    "distinct1": "Distinct words",
    "distinct2": "Distinct 2-grams",
    "distinct3": "Distinct 3-grams",
    "selfSimilarity": "Self-similarity",
    "responsePerplexity": "Perplexity of responses under the baseline",
    "perplexity": "Perplexity",
    "task": "Task",
    "classifier": "Classifier",
}


@dataclass(frozen=True)
class MetricCells:
    """What one candidate's columns show of a metric."""

    own: Number | None
    difference: Number | None
    problem: str | None


@dataclass(frozen=True)
class MetricRow:
    """One metric of all models."""

    name: str
    of: str | None
    samples: int
    baseline: Number | None
    cells: list[MetricCells]


@dataclass(frozen=True)
class TallyBar:
    """A judge's outcomes as shares."""

    tally: Tally
    shares: list[tuple[str, int, float]]
    rate: float | None


@dataclass(frozen=True)
class Verdict:
    """What the job came to, in a line."""

    text: str
    passed: bool | None


def metric_name(metric: str) -> str:
    """What people call a metric."""
    return _NAMES.get(metric, metric)


def metric_rows(results: EvaluationResults) -> list[MetricRow]:
    """Every metric, in the order of the results, with a cell for each candidate."""
    by_candidate = [{(m.metric, m.of): m for m in candidate.metrics} for candidate in results.candidates]
    keys = list(dict.fromkeys(key for metrics in by_candidate for key in metrics))
    rows = []
    for key in keys:
        found = [metrics[key] for metrics in by_candidate if key in metrics]
        rows.append(
            MetricRow(
                name=metric_name(key[0]),
                of=key[1],
                samples=max(metric.samples for metric in found),
                baseline=next((metric.baseline for metric in found if metric.baseline is not None), None),
                cells=[_cells(metrics.get(key)) for metrics in by_candidate],
            )
        )
    return rows


def gate_rows(candidate: CandidateResult) -> list[tuple[str, GateStatus]]:
    """A candidate's gates with their names."""
    return [(_gate_name(gate), gate) for gate in candidate.gates]


def tally_bars(candidate: CandidateResult) -> list[TallyBar]:
    """Outcomes of each judge as shares of the prompts with a verdict."""
    bars = []
    for tally in candidate.tallies:
        judged = tally.wins + tally.ties + tally.losses
        counts = (("win", tally.wins), ("tie", tally.ties), ("loss", tally.losses))
        shares = [(name, count, count / judged if judged else 0.0) for name, count in counts]
        bars.append(TallyBar(tally, shares, (tally.wins + tally.ties / 2) / judged if judged else None))
    return bars


def verdict(report: JobReport) -> Verdict | None:
    """What the last evaluation with gates decided; None if there is none yet."""
    decided = [
        stage.evaluation.results
        for stage in report.stages
        if stage.evaluation is not None and any(each.gates for each in stage.evaluation.results.candidates)
    ]
    if not decided:
        return None
    chosen = next((each for each in decided[-1].candidates if each.chosen), decided[-1].candidates[0])
    passed = sum(gate.passed for gate in chosen.gates)
    return Verdict(f"{chosen.name}: {passed} of {len(chosen.gates)} gates hold", passed == len(chosen.gates))


def _cells(metric: MetricResult | None) -> MetricCells:
    if metric is None:
        return MetricCells(None, None, None)
    return MetricCells(metric.own, metric.difference, metric.problem)


def _gate_name(gate: GateStatus) -> str:
    of = gate.judge or gate.measure
    relative = f", {gate.relative_to_baseline} to the baseline" if gate.relative_to_baseline else ""
    return f"{metric_name(gate.metric)}{f' ({of})' if of else ''}{relative}"
