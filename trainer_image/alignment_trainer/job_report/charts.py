"""Geometry of the page's charts: numbers -> coordinates in the units of an SVG. Pure.

Values are at most `curves.LARGEST`, so that no difference overflows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from alignment_api.v1alpha1 import GateStatus

from .curves import LARGEST
from .model import Curve, Restart

WIDTH: Final = 320
HEIGHT: Final = 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 14, 20
_FEW_POINTS: Final = 40
"""Series of so few points show each of them as a dot."""

_LEAST_SPAN: Final = 1e-290
"""Ranges that a float can hardly part are drawn as one value."""

_MOST_DECIMALS: Final = 6
_PLAIN: Final = 1e5

PLOT_WIDTH: Final = 260
PLOT_HEIGHT: Final = 40
_PLOT_MIDDLE: Final = 13
_PLOT_MARGIN: Final = 16


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A series as points of a polyline, ``x,y x,y ...``."""

    name: str
    points: str
    dots: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Mark:
    """A restart."""

    at: float
    label: str
    title: str


@dataclass(frozen=True)
class Chart:
    """One chart."""

    lines: Sequence[Line]
    across: Sequence[Tick]
    up: Sequence[Tick]
    marks: Sequence[Mark]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


@dataclass(frozen=True)
class IntervalPlot:
    """A gate: the interval of what was measured, and the threshold with the side that passes."""

    value: float
    lower: float | None
    upper: float | None
    threshold: float
    threshold_label: str
    passing_from: float
    passing_width: float
    label_anchor: str


def chart_of(curve: Curve, restarts: Sequence[Restart]) -> Chart:
    """The chart of a curve; a restart before its first point is not marked."""
    steps = [step for series in curve.series for step, _ in series.points]
    values = [value for series in curve.series for _, value in series.points]
    first, last = min(steps), max(steps)
    up = ticks(min(values), max(values), 4)
    low, high = _range(min([*values, *up]), max([*values, *up]))
    x = _scale(first, last, _LEFT, WIDTH - _RIGHT)
    y = _scale(low, high, HEIGHT - _BOTTOM, _TOP)
    lines = []
    for series in curve.series:
        places = [(f"{x(step):.0f}", f"{y(value):.1f}".removesuffix(".0")) for step, value in series.points]
        dots = places if len(places) <= _FEW_POINTS else ()
        lines.append(Line(series.name, " ".join(map(",".join, places)), dots))
    return Chart(
        lines=lines,
        across=[Tick(x(step), whole(round(step))) for step in ticks(first, last, 4, whole_numbers=True)],
        up=[Tick(y(value), short(value)) for value in up],
        marks=[
            Mark(
                x(each.step),
                f"#{each.attempt}",
                f"attempt {each.attempt} went on from step {each.step} ({each.text})",
            )
            for each in restarts
            if first <= each.step <= last
        ],
    )


def interval_plot(gate: GateStatus) -> IntervalPlot | None:
    """The picture of a gate; None if nothing was measured that can be drawn, or it has no threshold."""
    threshold = gate.at_least if gate.at_least is not None else gate.at_most
    if threshold is None or gate.value is None:
        return None
    numbers = [number for number in (gate.value, gate.lower, gate.upper, threshold) if number is not None]
    if not all(abs(number) <= LARGEST for number in numbers):
        return None
    low, high = _range(min(numbers), max(numbers))
    x = _scale(low, high, _PLOT_MARGIN, PLOT_WIDTH - _PLOT_MARGIN)
    at = x(threshold)
    begins, ends = (at, float(PLOT_WIDTH)) if gate.at_least is not None else (0.0, at)
    return IntervalPlot(
        value=x(gate.value),
        lower=None if gate.lower is None else x(gate.lower),
        upper=None if gate.upper is None else x(gate.upper),
        threshold=at,
        threshold_label=("≥ " if gate.at_least is not None else "≤ ") + short(threshold),
        passing_from=begins,
        passing_width=ends - begins,
        label_anchor="start" if at < PLOT_WIDTH / 3 else "end" if at > 2 * PLOT_WIDTH / 3 else "middle",
    )


def ticks(low: float, high: float, most: int, *, whole_numbers: bool = False) -> list[float]:
    """Round numbers from ``low`` to ``high``, some ``most`` of them; ``low`` alone if there is nothing between."""
    span = high - low
    if span <= max(abs(low), abs(high)) * 1e-12 or span < _LEAST_SPAN:
        return [low]
    rough = span / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next((unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * (1 - 1e-9)), unit * 10)
    if whole_numbers:
        step = max(1.0, step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)] or [low]


def short(value: float) -> str:
    """A number in a few characters."""
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-3 <= size < 1e5:
        text = f"{value:.4g}" if size < 1e4 else f"{value:,.0f}".replace(",", "\u202f")
    else:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return text.replace("-", "\u2212")


def with_interval(value: float, lower: float | None, upper: float | None) -> tuple[str, str | None]:
    """A number to the digits that its interval leaves a meaning, and the interval.

    A bound that is missing beside one that is there is not finite.
    """
    if lower is None and upper is None:
        return short(value), None
    width = 0.0 if lower is None or upper is None else upper - lower
    decimals = 2 - math.floor(math.log10(width / 2)) if width > _LEAST_SPAN else None

    def text(number: float) -> str:
        if decimals is None or decimals > _MOST_DECIMALS or abs(number) >= _PLAIN:
            return short(number)
        return f"{number:.{max(0, decimals)}f}".replace("-", "\u2212")

    bounds = ("\u2212\u221e" if lower is None else text(lower), "\u221e" if upper is None else text(upper))
    return text(value), f"[{bounds[0]}, {bounds[1]}]"


def whole(value: int) -> str:
    """A whole number with its thousands set apart."""
    return f"{value:,}".replace(",", "\u202f").replace("-", "\u2212")


def _range(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty."""
    if high - low > 1e-12 * max(abs(low), abs(high)) and high - low >= _LEAST_SPAN:
        return low, high
    room = abs(high) * 0.1 or 1.0
    return low - room, high + room


class _scale:
    """A linear map of numbers to coordinates."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self._low, self._begin = low, begin
        self._span, self._length = high - low, end - begin

    def __call__(self, value: float) -> float:
        if not self._span:
            return self._begin + self._length / 2
        return self._begin + (value - self._low) / self._span * self._length
