"""The registry of formats: one module each."""

from __future__ import annotations

from alignment_api.v1alpha1 import DatasetFormat

from . import alpaca, chat_messages, hh_rlhf, preference, prompt_completion, prompts, share_gpt
from .base import Format, SourceRow

FORMATS: dict[DatasetFormat, Format] = {
    # In the order in which `auto` tries them: a format stands before those whose columns are a subset of its own.
    DatasetFormat.HH_RLHF: hh_rlhf.FORMAT,
    DatasetFormat.PREFERENCE: preference.FORMAT,
    DatasetFormat.MESSAGES: chat_messages.FORMAT,
    DatasetFormat.SHARE_GPT: share_gpt.FORMAT,
    DatasetFormat.ALPACA: alpaca.FORMAT,
    DatasetFormat.PROMPT_COMPLETION: prompt_completion.FORMAT,
    DatasetFormat.PROMPTS: prompts.FORMAT,
}


def detect(row: SourceRow) -> DatasetFormat | None:
    """The format that ``row`` looks like; None when it looks like none."""
    return next((name for name, candidate in FORMATS.items() if candidate.matches(row)), None)


def describe() -> str:
    """The formats and their columns, for messages."""
    return "; ".join(f"{name.value} ({', '.join(known.columns)})" for name, known in FORMATS.items())


__all__ = ["FORMATS", "Format", "SourceRow", "describe", "detect"]
