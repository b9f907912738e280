"""Token lengths of rows under the job's tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .rows import Conversation, Labelled, Message, Messages, Pair, Prompt, Row, last_prompt

Counts = npt.NDArray[np.integer[Any]]
_PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}


class Length(NamedTuple):
    """Tokens of one row.

    Attributes:
        row: of the whole row; of a pair, of its longer side.
        chosen: of a pair's prompt and chosen response; 0 of other rows.
        rejected: of a pair's prompt and rejected response; 0 of other rows.
    """

    row: int
    chosen: int = 0
    rejected: int = 0


def measure(rows: Sequence[Row], tokenizer: Any) -> list[Length]:
    """Tokenize ``rows`` as training will; a prompt alone is counted with the beginning of the answer's turn.

    Raises:
        jinja2.TemplateError: the chat template refuses a conversation.
    """
    sides = [_sides(row) for row in rows]
    prompts = bool(rows) and isinstance(rows[0], Prompt)
    counts = iter(_counts([side for of_row in sides for side in of_row], tokenizer, add_generation_prompt=prompts))
    return [_length(tuple(islice(counts, len(of_row)))) for of_row in sides]


def measure_prompts(rows: Sequence[Row], tokenizer: Any) -> list[int]:
    """Tokens that come before the response of each row."""
    return _counts([last_prompt(row) for row in rows], tokenizer, add_generation_prompt=True)


def percentiles(lengths: Counts) -> dict[str, int]:
    """Median, 95th and 99th percentile (nearest rank) and maximum; empty without rows."""
    if not len(lengths):
        return {}
    ordered = np.sort(lengths)
    return {name: int(ordered[max(0, -int(-share * len(ordered) // 1) - 1)]) for name, share in _PERCENTILES.items()}


def histogram(lengths: Counts, bins: int) -> list[dict[str, int]]:
    """How many rows have which lengths: ranges of one width, and a last one for the longest hundredth.

    Args:
        lengths: of the rows, in tokens.
        bins: most ranges.

    Returns:
        For each range its ``from`` (inclusive), ``to`` (exclusive) and ``rows``.
    """
    if not len(lengths):
        return []
    low, high = int(lengths.min()), int(lengths.max()) + 1
    usual = percentiles(lengths)["p99"] + 1
    width = max(1, -(-(usual - low) // (bins - 1)))
    edges = np.append(np.arange(low, usual, width), usual if usual == high else [usual, high])
    counts, _ = np.histogram(lengths, bins=edges)
    return [
        {"from": int(start), "to": int(end), "rows": int(count)}
        for start, end, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _length(counts: tuple[int, ...]) -> Length:
    return Length(max(counts), *counts) if len(counts) > 1 else Length(counts[0])


def _sides(row: Row) -> list[Messages]:
    match row:
        case Pair():
            return [row.prompt + row.chosen, row.prompt + row.rejected]
        case Labelled():
            return [row.prompt + row.completion]
        case Conversation(messages):
            return [messages]
        case Prompt(prompt):
            return [prompt]


def _counts(conversations: Sequence[Messages], tokenizer: Any, *, add_generation_prompt: bool) -> list[int]:
    if not conversations:
        return []
    turns: list[list[Message]] = [list(messages) for messages in conversations]
    texts = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
    # The template writes special tokens itself.
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]]
