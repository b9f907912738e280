"""The numbers of an evaluation that go into status: those of the chosen candidate. Pure."""

from __future__ import annotations

from typing import Final

from alignment_api.v1alpha1 import GateMetric
from alignment_api.v1alpha1.evaluation.evaluate import BASELINE, CANDIDATE
from alignment_api.v1alpha1.evaluation.gates import JUDGED_METRICS, NAMED_METRICS

from ..reporter import MAX_METRICS
from .results import EvaluationResults, MetricResult

_LATER: Final = (GateMetric.DISTINCT_1, GateMetric.DISTINCT_3, GateMetric.LENGTH_CONTROLLED_WIN_RATE)
"""Left out first where there are more metrics than status holds."""


def status_metrics(results: EvaluationResults) -> dict[str, float]:
    """Metrics by name, the most telling first, at most as many as status holds.

    Of judges, wins, ties, losses and win rates stand under ``<judge>/``, those of the first one also by themselves;
    what is measured of both models, under ``.../candidate`` and ``.../baseline``.
    """
    chosen = results.chosen
    found: dict[str, float | None] = {}
    metrics = sorted(chosen.metrics, key=lambda metric: metric.metric in _LATER)
    for number, tally in enumerate(chosen.tallies):
        counts = {"wins": tally.wins, "ties": tally.ties, "losses": tally.losses}
        rates = {
            metric.metric: metric.own.value
            for metric in metrics
            if metric.of == tally.judge and metric.metric in JUDGED_METRICS - {GateMetric.SCORE}
        }
        if number == 0:
            found |= counts | rates
        found |= {f"{tally.judge}/{name}": value for name, value in (counts | rates).items()}
    for metric in metrics:
        if metric.baseline is None and metric.metric not in JUDGED_METRICS:
            found[_name(metric)] = metric.own.value
    for metric in metrics:
        if metric.baseline is not None:
            found[f"{_name(metric)}/{CANDIDATE}"] = metric.own.value
            found[f"{_name(metric)}/{BASELINE}"] = metric.baseline.value
    known = {name: float(value) for name, value in found.items() if value is not None}
    return dict(list(known.items())[:MAX_METRICS])


def _name(metric: MetricResult) -> str:
    if metric.metric in JUDGED_METRICS:
        return f"{metric.of}/{metric.metric}"
    return f"{metric.metric}/{metric.of}" if metric.metric in NAMED_METRICS else metric.metric
