"""``prompt``, ``completion`` and ``label``: single responses that somebody called good or bad (thumbs up or down)."""

from __future__ import annotations

from typing import Any, Final

from ..rows import Labelled, RowError
from .base import Format, SourceRow, answer_messages, column, has, prompt_messages, shown

_LABELS: Final = {"true": True, "1": True, "false": False, "0": False}
"""CSV files hold labels as text."""


def convert(row: SourceRow) -> tuple[Labelled]:
    """The completion after the prompt, and its label."""
    return (Labelled(prompt_messages(row, "prompt"), answer_messages(row, "completion"), _label(row)),)


def _label(row: SourceRow) -> bool:
    value = column(row, "label")
    label = _as_label(value)
    if label is None:
        raise RowError("label", f"is {shown(value)}; it must be true (good) or false (bad), or 1 or 0")
    return label


def _as_label(value: Any) -> bool | None:
    if isinstance(value, str):
        return _LABELS.get(value.strip().lower())
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


FORMAT = Format(
    columns=("prompt", "completion", "label"), matches=has("prompt", "completion", "label"), convert=convert
)
