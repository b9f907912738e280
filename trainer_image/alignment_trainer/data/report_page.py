"""The data report as one page for people: no scripts, nothing loaded from elsewhere, every text escaped. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2

_TEMPLATE: Final = Path(__file__).with_name("report_page.html.jinja")
WIDTH: Final = 720
HEIGHT: Final = 160
"""Size of the chart in its own units; it scales with the page."""
_NONE: Final = "-"


def page(report: Mapping[str, Any]) -> str:
    """The page for a report as `data.json` holds it."""
    text: str = _template().render(
        report={"cached": False, "droppedRows": 0, **report},
        bars=_bars(report["rowTokens"].get("histogram", [])),
        width=WIDTH,
        height=HEIGHT,
    )
    return text


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": _number, "percent": _percent, "turns": _turns, "plain": _plain}
    return environment.from_string(_TEMPLATE.read_text())


def _bars(histogram: Sequence[Mapping[str, int]]) -> list[dict[str, Any]]:
    """Rectangles of a chart, all of one width; the last range may be wider than the others."""
    most = max((each["rows"] for each in histogram), default=0)
    width = WIDTH / max(1, len(histogram))
    return [
        {
            "x": round(index * width + 1, 2),
            "y": round(HEIGHT * (1 - each["rows"] / most), 2),
            "width": round(width - 2, 2),
            "height": round(HEIGHT * each["rows"] / most, 2),
            "title": f"{_number(each['from'])} to {_number(each['to'] - 1)} tokens: {_number(each['rows'])} rows",
        }
        for index, each in enumerate(histogram)
    ]


def _number(value: float | None) -> str:
    """A number with its thousands set apart; a dash for one that is not there."""
    return _NONE if value is None else f"{value:,}".replace(",", "\u202f")


def _percent(fraction: float | None) -> str:
    return _NONE if fraction is None else f"{100 * fraction:.3g} %"


def _turns(value: Any) -> bool:
    """Whether ``value`` is a list of messages."""
    return isinstance(value, list) and all(isinstance(turn, dict) and "role" in turn for turn in value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
