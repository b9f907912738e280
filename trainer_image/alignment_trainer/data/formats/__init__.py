"""The registry of formats: one module each."""

from __future__ import annotations

from collections.abc import Set

from alignment_api.v1alpha1 import DatasetFormat

from . import (
    alpaca,
    chat_messages,
    good_bad,
    hh_rlhf,
    preference,
    prompt_completion,
    prompts,
    share_gpt,
    unpaired_preference,
)
from .base import Format, SourceRow

FORMATS: dict[DatasetFormat, Format] = {
    # In the order in which `auto` tries them: a format stands before those whose columns are a subset of its own.
    DatasetFormat.HH_RLHF: hh_rlhf.FORMAT,
    DatasetFormat.PREFERENCE: preference.FORMAT,
    DatasetFormat.GOOD_BAD: good_bad.FORMAT,
    DatasetFormat.MESSAGES: chat_messages.FORMAT,
    DatasetFormat.SHARE_GPT: share_gpt.FORMAT,
    DatasetFormat.ALPACA: alpaca.FORMAT,
    DatasetFormat.UNPAIRED_PREFERENCE: unpaired_preference.FORMAT,
    DatasetFormat.PROMPT_COMPLETION: prompt_completion.FORMAT,
    DatasetFormat.PROMPTS: prompts.FORMAT,
}


def detect(row: SourceRow, usable: Set[DatasetFormat] = frozenset(FORMATS)) -> DatasetFormat | None:
    """The first format that ``row`` looks like; None when it looks like none.

    Args:
        row: a row of the dataset.
        usable: the formats that the method can use: a row of pairs is also a row of prompts for a method that
            needs those.
    """
    return next((name for name, known in FORMATS.items() if name in usable and known.matches(row)), None)


def describe() -> str:
    """The formats and their columns, for messages."""
    return "; ".join(f"{name.value} ({', '.join(known.columns)})" for name, known in FORMATS.items())


__all__ = ["FORMATS", "Format", "SourceRow", "describe", "detect"]
