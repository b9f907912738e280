r"""``chosen`` and ``rejected`` as transcripts: ``\n\nHuman: ...\n\nAssistant: ...``.

Source: Bai et al., 2022 (arXiv:2204.05862), the data set Anthropic/hh-rlhf.
"""

from __future__ import annotations

import re

from ..rows import Message, Messages, Pair, Role, RowError, message
from .base import Format, SourceRow, text

_ROLES = {"Human": Role.USER, "Assistant": Role.ASSISTANT}
_TURN = re.compile(r"\n\n(Human|Assistant):")


def parse(transcript: str, column: str) -> Messages:
    """The turns of a transcript; spaces around each text are taken off.

    Raises:
        RowError: the transcript does not begin with a turn.
    """
    before, *parts = _TURN.split(transcript)
    if before.strip() or not parts:
        raise RowError(column, r"is no transcript: it must begin with '\n\nHuman:' or '\n\nAssistant:'")
    return tuple(_turn(speaker, said) for speaker, said in zip(parts[::2], parts[1::2], strict=True))


def convert(row: SourceRow) -> tuple[Pair]:
    """Both transcripts split at their last assistant turn; what comes before it is the prompt, the same for both."""
    chosen, rejected = (parse(text(row, name), name) for name in ("chosen", "rejected"))
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if turns[-1]["role"] != Role.ASSISTANT:
            raise RowError(name, "must end with an Assistant turn")
    if chosen[:-1] != rejected[:-1]:
        raise RowError("rejected", "answers another prompt than chosen: the transcripts differ before the last turn")
    return (Pair(chosen[:-1], chosen[-1:], rejected[-1:]),)


def matches(row: SourceRow) -> bool:
    """Whether chosen is a transcript and there is no prompt column."""
    chosen = row.get("chosen")
    return "prompt" not in row and "rejected" in row and isinstance(chosen, str) and _TURN.match(chosen) is not None


def _turn(speaker: str, said: str) -> Message:
    return message(_ROLES[speaker], said.strip())


FORMAT = Format(columns=("chosen", "rejected"), matches=matches, convert=convert)
