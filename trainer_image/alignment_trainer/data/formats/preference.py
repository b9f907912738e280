"""``chosen`` and ``rejected`` after a ``prompt``: text or messages, the prompt alone or repeated in both.

An optional ``margin`` says by how much the chosen response is better; without it, ``score_chosen`` and
``score_rejected`` do, as in UltraFeedback (Cui et al., 2023, arXiv:2310.01377).
"""

from __future__ import annotations

from dataclasses import replace

from ..rows import Messages, Pair, RowError
from .base import Format, SourceRow, answer_messages, has, messages, number, prompt_messages

_SCORES = ("score_chosen", "score_rejected")


def convert(row: SourceRow) -> tuple[Pair]:
    """The pair after its prompt.

    Without a ``prompt`` column, chosen and rejected are whole conversations, and all but their last turns is the
    prompt; with one, a prompt that the conversations repeat is taken off them.
    """
    return (replace(_pair(row), margin=_margin(row)),)


def _pair(row: SourceRow) -> Pair:
    if row.get("prompt") is None:
        return _shared_prompt(messages(row, "chosen"), messages(row, "rejected"))
    prompt = prompt_messages(row, "prompt")
    chosen, rejected = answer_messages(row, "chosen"), answer_messages(row, "rejected")
    if len(chosen) == 1 or len(rejected) == 1:
        return Pair(prompt, chosen, rejected)
    pair = _shared_prompt(chosen, rejected)
    if pair.prompt[-len(prompt) :] != prompt:
        raise RowError("prompt", "differs from the turns that chosen and rejected begin with")
    return pair


def _shared_prompt(chosen: Messages, rejected: Messages) -> Pair:
    if chosen[:-1] != rejected[:-1]:
        raise RowError("rejected", "answers another prompt than chosen: all turns but the last must be equal")
    return Pair(chosen[:-1], chosen[-1:], rejected[-1:])


def _margin(row: SourceRow) -> float | None:
    if not _is_blank(row, "margin"):
        return number(row, "margin")
    if any(_is_blank(row, name) for name in _SCORES):
        return None
    better, worse = (number(row, name) for name in _SCORES)
    return better - worse


def _is_blank(row: SourceRow, name: str) -> bool:
    """Whether a row has no value in a column; the empty cells of CSV files are texts."""
    return row.get(name) in (None, "")


FORMAT = Format(columns=("prompt", "chosen", "rejected"), matches=has("chosen", "rejected"), convert=convert)
