"""The report as one page for people: no scripts, nothing loaded from elsewhere, every text escaped. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2

from . import charts, differences
from .graph_layout import wide
from .graph_stack import narrow
from .model import JobReport, Response, Sample, StageReport
from .picture import NODE_HEIGHT, NODE_WIDTH
from .tables import gate_rows, metric_rows, tally_bars, verdict

_TEMPLATES: Final = Path(__file__).with_name("templates")
_NONE: Final = "\u2013"
_FOLDED_AFTER: Final = 700
"""Characters of a response that are shown before the rest is folded."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202d\u202e\ufffe\uffff]")
"""Characters that HTML has no place for, and those that turn the direction of all that follows."""


def page(report: JobReport) -> str:
    """The page of a report; its text can be encoded in UTF-8 whatever it was made from."""
    text: str = _template().render(
        report=report,
        pictures=[wide(report.graph), narrow(report.graph)],
        verdict=verdict(report),
        node_width=NODE_WIDTH,
        node_height=NODE_HEIGHT,
    )
    return _CONTROL.sub("\ufffd", text).encode("utf-8", "replace").decode()


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "whole": _whole,
        "short": _short,
        "compact": _compact,
        "percent": _percent,
        "hours": _hours,
        "time": _time,
        "duration": _duration,
        "bytes": _bytes,
        "folded": _folded,
        "json": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "cut": _cut,
    }
    environment.globals |= {
        "chart_of": charts.chart_of,
        "interval_plot": charts.interval_plot,
        "with_interval": charts.with_interval,
        "chart_size": (charts.WIDTH, charts.HEIGHT),
        "plot_size": (charts.PLOT_WIDTH, charts.PLOT_HEIGHT),
        "compared": _compared,
        "gate_rows": gate_rows,
        "metric_rows": metric_rows,
        "tally_bars": tally_bars,
        "stage_seconds": _stage_seconds,
    }
    return environment.get_template("report.html.jinja")


def _compared(sample: Sample) -> list[tuple[Response, list[differences.Part], list[differences.Part]]]:
    """The responses with their own words marked, each parted into what is shown and what is folded.

    The baseline is set against the chosen candidate, which comes first, and each candidate against the baseline.
    """
    if not sample.responses:
        return []
    baseline, *others = sample.responses
    columns = []
    for index, response in enumerate(others):
        before, after = differences.marked(baseline.text, response.text)
        if index == 0:
            columns.append((baseline, before))
        columns.append((response, after))
    columns = columns or [(baseline, [differences.Part(baseline.text, own=False)])]
    return [(response, *differences.split(parts, _FOLDED_AFTER)) for response, parts in columns]


def _stage_seconds(stage: StageReport) -> float:
    return sum(attempt.seconds for attempt in stage.attempts)


def _folded(text: str, length: int) -> tuple[str, str]:
    """The beginning of a text, and the rest."""
    first, rest = differences.split([differences.Part(text, own=False)], length)
    return "".join(part.text for part in first), "".join(part.text for part in rest)


def _whole(value: float | None) -> str:
    return _NONE if value is None else charts.whole(round(value))


def _short(value: float | None) -> str:
    return _NONE if value is None else charts.short(value)


def _compact(value: float) -> str:
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if value >= unit:
            return f"{value / min(unit, 1e3 if name == 'k' else unit):.3g}\u202f{name}"
    return charts.whole(round(value))


def _percent(fraction: float | None) -> str:
    return _NONE if fraction is None else f"{100 * fraction:.3g}\u202f%"


def _hours(hours: float) -> str:
    if hours >= 1000:
        return charts.whole(round(hours))
    return f"{hours:.1f}" if hours >= 10 else f"{hours:.2f}" if hours >= 0.095 or not hours else f"{hours:.2g}"


def _time(time: datetime | None) -> str:
    return _NONE if time is None else time.strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(seconds: float | timedelta | None) -> str:
    if seconds is None:
        return _NONE
    total = round(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    days, rest = divmod(total, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    units: Sequence[tuple[int, str]] = ((days, "d"), (hours, "h"), (minutes, "min"), (left, "s"))
    first = next((index for index, (amount, _) in enumerate(units) if amount), len(units) - 1)
    return "\u202f".join(f"{amount}\u202f{unit}" for amount, unit in units[first : first + 2])


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g}\u202f{unit}"
        size /= 1000
    return f"{size:.3g}\u202fTB"


def _cut(value: Any, length: int) -> str:
    text = str(value)
    return text if len(text) <= length else text[: length - 1] + "…"
