"""The guard's memory over reports, and its verdict on each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from .readings import BASELINE_REPORTS, MEAN_LENGTH, Values, read
from .thresholds import Quantity, Threshold

_NAMES: Final = {
    Quantity.KL: "the KL to the reference",
    Quantity.MARGIN: "the margin between the rewards of chosen and rejected",
    Quantity.LENGTH_GROWTH: "the mean response length, as a multiple of that of the first reports,",
    Quantity.REPETITION: "the share of repeated 4-grams in responses",
    Quantity.REWARD_STD: "the standard deviation of rewards",
}
_SLOWER: Final = "lower training.learningRate, or keep the policy nearer to the reference with a larger beta"
_ADVICE: Final = {
    Quantity.KL: _SLOWER,
    Quantity.MARGIN: _SLOWER,
    Quantity.LENGTH_GROWTH: "add a length reward, or lower training.learningRate",
    Quantity.REPETITION: "add a repetition reward, or lower training.learningRate",
    Quantity.REWARD_STD: "give prompts that are neither too easy nor too hard, a finer reward, or more generations",
}
_SHOWN: Final = 5
"""Readings that a message shows, the last ones."""


class Verdict(IntEnum):
    """What a report says; the larger one counts when processes differ."""

    GOOD = 0
    DOUBTFUL = 1  # something is beyond its threshold, and patience is left: the weights must not count as good
    STOP = 2


@dataclass(frozen=True)
class Finding:
    """Why a stage is stopped.

    Attributes:
        message: what was seen: values, steps and threshold.
        field: the field of the guard that decides it; None for what no field switches off.
        advice: the way out.
    """

    message: str
    field: str | None
    advice: str


def not_finite(what: str, step: int) -> Finding:
    """The finding that ``what`` is NaN or infinite."""
    return Finding(
        f"{what} at step {step}",
        None,
        "lower training.learningRate or training.maxGradNorm, raise training.warmupRatio, or look for broken rows",
    )


class Watch:
    """Follows a stage's reports and remembers for how many in a row each quantity has been beyond its threshold.

    Args:
        thresholds: what is watched.
        first_lengths: mean response lengths of the stage's first reports, if it goes on from a checkpoint.
    """

    def __init__(self, thresholds: Iterable[Threshold], first_lengths: Sequence[float] = ()) -> None:
        self._thresholds = tuple(thresholds)
        self._first_lengths = list(first_lengths)
        self._streaks: dict[Quantity, list[tuple[int, float]]] = {item.quantity: [] for item in self._thresholds}

    def look(self, step: int, values: Values) -> tuple[Verdict, Finding | None]:
        """What the report of ``step`` says; a finding with `Verdict.STOP` only.

        Args:
            step: optimizer steps done.
            values: its metrics.
        """
        loss = values.get("loss")
        if loss is not None and not math.isfinite(loss):
            return Verdict.STOP, not_finite(f"the loss is {loss}", step)
        length = values.get(MEAN_LENGTH)
        if length is not None and len(self._first_lengths) < BASELINE_REPORTS:
            self._first_lengths.append(length)
        readings = read(values, self._first_lengths)
        verdict = Verdict.GOOD
        for threshold in self._thresholds:
            streak = self._streaks[threshold.quantity]
            value = readings.get(threshold.quantity)
            if value is not None:  # a report without it, of a batch that had nothing to measure, changes nothing
                if threshold.passes(value):
                    streak.clear()
                else:
                    streak.append((step, value))
            if len(streak) >= threshold.reports:
                return Verdict.STOP, _finding(threshold, streak)
            if streak and threshold.ruins:
                verdict = Verdict.DOUBTFUL
        return verdict, None


def _finding(threshold: Threshold, streak: Sequence[tuple[int, float]]) -> Finding:
    shown = streak[-_SHOWN:]
    side = "below" if threshold.is_minimum else "above"
    source = "the method's default" if threshold.is_default else "as set"
    more = f", beyond it in {len(streak)} reports in a row" if len(streak) > len(shown) else ""
    return Finding(
        f"{_NAMES[threshold.quantity]} was {', '.join(f'{value:.4g}' for _, value in shown)} at "
        f"step{'s' if len(shown) > 1 else ''} {', '.join(str(step) for step, _ in shown)}, {side} {threshold.limit:g} "
        f"({source}){more}",
        threshold.quantity.value,
        f"{_ADVICE[threshold.quantity]}; if it is meant to be so, {'lower' if threshold.is_minimum else 'raise'} "
        f"this threshold, which is {threshold.limit:g}",
    )
