"""The metrics of a stage's attempts as curves. Pure.

An attempt that goes on from a checkpoint does again what the one before did after it; those steps are shown once, as
the later attempt found them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from .model import Curve, Point, Series

LARGEST: Final = 1e200
"""No metric that means something is larger."""

HELD_OUT: Final = "eval_"
"""Prefix of metrics on held-out rows."""

_FIRST: Final = (
    "loss",
    "grad_norm",
    "learning_rate",
    "reward",
    "rewards/margins",
    "rewards/accuracies",
    "rewards/chosen",
    "rewards/rejected",
    "kl",
    "objective/kl",
    "entropy",
    "mean_token_accuracy",
    "accuracy",
    "margin",
    "logps/chosen",
    "logps/rejected",
)
"""What people look at first; the rest follows by name."""


class Reported(NamedTuple):
    """What one attempt reported.

    Attributes:
        resumed_from: step of the checkpoint it went on from; None if that is not known.
        entries: step and metrics, in the order of writing.
    """

    resumed_from: int | None
    entries: Sequence[tuple[int, Mapping[str, float]]]


def entry_of(line: Any) -> tuple[int, dict[str, float]] | None:
    """The step and numbers of one line of ``metrics.jsonl``, without those beyond `LARGEST`; None of anything else."""
    if not isinstance(line, dict) or not _is_step(line.get("step")):
        return None
    numbers = {
        str(name): float(value)
        for name, value in line.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    }
    return line["step"], numbers


def merged(attempts: Sequence[Reported]) -> dict[str, list[Point]]:
    """The points of each metric over all attempts, each step once, in the order of steps."""
    found: dict[str, dict[int, float]] = {}
    for attempt in attempts:
        begins = attempt.resumed_from
        if begins is None and attempt.entries:
            begins = attempt.entries[0][0] - 1
        for points in found.values():
            for step in [step for step in points if begins is not None and step > begins]:
                del points[step]
        for step, numbers in attempt.entries:
            for name, value in numbers.items():
                found.setdefault(name, {})[step] = value
    return {name: sorted(points.items()) for name, points in found.items() if points}


def curves(metrics: Mapping[str, Sequence[Point]], charts: int, points: int) -> tuple[list[Curve], list[str]]:
    """Charts of ``metrics``, the most wanted first; a metric and the same on held-out rows share one.

    Args:
        metrics: name -> its points.
        charts: how many at most.
        points: the most points of a series.

    Returns:
        The charts, and the names of metrics that have none.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(metrics):
        base = name.removeprefix(HELD_OUT)
        groups.setdefault(base if base in metrics else name, []).append(name)
    ordered = sorted(groups, key=_rank)
    shown = [
        Curve(name=base, series=[_series(name, metrics[name], points) for name in sorted(groups[base], key=len)])
        for base in ordered[:charts]
    ]
    return shown, [name for base in ordered[charts:] for name in groups[base]]


def thinned(points: Sequence[Point], limit: int) -> list[Point]:
    """At most ``limit`` of the points: the first, the last, and of each stretch its lowest and highest."""
    if len(points) <= limit:
        return list(points)
    inner, stretches = points[1:-1], max(1, (limit - 2) // 2)
    kept: list[Point] = [points[0]]
    for index in range(stretches):
        stretch = inner[index * len(inner) // stretches : (index + 1) * len(inner) // stretches]
        lowest = min(stretch, key=lambda point: point[1])
        highest = max(stretch, key=lambda point: point[1])
        kept += sorted({lowest, highest})
    return [*kept, points[-1]]


def last_step(entries: Iterable[tuple[int, Mapping[str, float]]]) -> int | None:
    """The highest step that was reported."""
    return max((step for step, _ in entries), default=None)


def _series(name: str, points: Sequence[Point], limit: int) -> Series:
    values = [value for _, value in points]
    return Series(
        name=name,
        points=thinned(points, limit),
        reports=len(points),
        latest=values[-1],
        lowest=min(values),
        highest=max(values),
    )


def _rank(name: str) -> tuple[int, str]:
    plain = name.removeprefix(HELD_OUT)
    return (_FIRST.index(plain) if plain in _FIRST else len(_FIRST), name)


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53
