"""The metric of a task as a ratio of two sums over its questions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from lm_eval.api import metrics

from ...measurement import Transform
from ..units import Unit
from .building import Built
from .refusals import Refused


@dataclass(frozen=True)
class Scoring:
    """How a question's score becomes two numbers.

    Attributes:
        metric: name of the metric.
        filter: name of the filter that takes the answer out of what the model wrote.
        unit: takes the metric's value for one question.
        transform: what is made of the ratio of the sums.
        by_task: the score is the mean over the means of a group's tasks, not over all their questions.
    """

    metric: str
    filter: str
    unit: Callable[[Any], Unit]
    transform: Transform
    by_task: bool

    def of(self, value: Any, questions: int) -> Unit:
        """The unit of a question of a task that has so many."""
        numerator, denominator = self.unit(value)
        return [numerator / questions, denominator / questions] if self.by_task else [numerator, denominator]


def scoring_of(built: Built, wanted: str | None) -> Scoring:
    """The scoring by ``wanted``: a metric, `metric,filter` as the harness names results, or None for the first metric.

    Raises:
        Refused: the tasks have no such metric, or one that is no mean over questions.
    """
    first = built.tasks[0]
    metric, _, wanted_filter = (wanted or next(iter(first.aggregation()))).partition(",")
    filters = [ensemble.name for ensemble in first._filters]
    if wanted_filter and wanted_filter not in filters:
        raise Refused(f"there is no filter {wanted_filter!r}: name one of {', '.join(filters)}, or none")
    for task in built.tasks:
        if metric not in task.aggregation():
            raise Refused(f"{task.task_name} has no metric {metric!r}: name one of {', '.join(task.aggregation())}")
    # Functions of the user's group are compared by identity: a metric of another kind with the same name is another.
    aggregation = first.aggregation()[metric]
    if aggregation not in _RATIOS or any(task.aggregation()[metric] is not aggregation for task in built.tasks):
        means = [name for name, how in first.aggregation().items() if how in _RATIOS]
        way_out = f"name another: {', '.join(means)}" if means else "name another task"
        raise Refused(f"metric {metric} is not a mean over questions, so it has no interval: {way_out}")
    unit, transform = _RATIOS[aggregation]
    return Scoring(metric, wanted_filter or filters[0], unit, transform, _by_task(built, metric, transform))


def _by_task(built: Built, metric: str, transform: Transform) -> bool:
    """Whether a group's score is the mean of its tasks' means."""
    if built.group is None:
        return False
    settings = {setting.metric: setting for setting in built.group.aggregate_metric_list or ()}
    if metric not in settings or transform is not Transform.IDENTITY:
        has = f"is scored by {', '.join(settings)}" if settings else "has no score of its own"
        names = ", ".join(task.task_name for task in built.tasks[:20])
        raise Refused(f"group {built.group.name} {has}, not {metric}: name another metric or one of its tasks: {names}")
    return not settings[metric].weight_by_size


def _mean(value: Any) -> Unit:
    return [float(value), 1]


def _mean_of_numbers(value: Any) -> Unit:
    return [0.0, 0] if math.isnan(value) else [float(value), 1]


def _log_likelihood(value: Any) -> Unit:
    return [-float(value), 1]


def _weighted_log_likelihood(value: Any) -> Unit:
    log_likelihood, weight = value
    return [-float(log_likelihood), float(weight)]


def _bits(value: Any) -> Unit:
    log_likelihood, count = value
    return [-float(log_likelihood) / math.log(2), float(count)]


def _brier(value: Any) -> Unit:
    """Squared distance of the probabilities of all answers from those that an oracle would give."""
    gold, probabilities = value
    oracle = np.eye(len(probabilities))[gold]
    return [float(np.sum((np.asarray(probabilities) - oracle) ** 2)), 1]


_RATIOS: Final[dict[Any, tuple[Callable[[Any], Unit], Transform]]] = {
    metrics.mean: (_mean, Transform.IDENTITY),
    metrics.nanmean: (_mean_of_numbers, Transform.IDENTITY),
    metrics.perplexity: (_log_likelihood, Transform.EXP),
    metrics.weighted_perplexity: (_weighted_log_likelihood, Transform.EXP),
    metrics.bits_per_byte: (_bits, Transform.IDENTITY),
    metrics.brier_score: (_brier, Transform.IDENTITY),
}
"""The harness's aggregations that are ratios of sums over questions -> a question's two numbers."""
