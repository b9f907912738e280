"""Token lengths of prepared rows under the job's tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .rows import Conversation, Message, Messages, Pair, Row

_BATCH = 1000


@dataclass
class Lengths:
    """Lengths of training rows, in tokens.

    Attributes:
        row: of each row; of a pair, its longer side.
        tokens: sum over all rows; both sides of pairs count.
        chosen: of each pair's prompt and chosen response.
        rejected: of each pair's prompt and rejected response.
    """

    row: list[int] = field(default_factory=list)
    tokens: int = 0
    chosen: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)

    def longer_than(self, limit: int) -> int:
        """How many rows have more than ``limit`` tokens."""
        return sum(length > limit for length in self.row)

    def percentiles(self) -> dict[str, int]:
        """Median, 95th and 99th percentile (nearest rank) and maximum of the row lengths."""
        ordered = sorted(self.row)
        if not ordered:
            return {}
        ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
        return {name: ordered[max(0, -int(-share * len(ordered) // 1) - 1)] for name, share in ranks.items()}


def measure(rows: Iterable[Row], tokenizer: Any) -> Lengths:
    """Tokenize ``rows`` as training will.

    Raises:
        jinja2.TemplateError: the chat template refuses a conversation.
    """
    lengths = Lengths()
    for batch in _batches(rows):
        texts = [_sides(row) for row in batch]
        counts = iter(_counts([side for sides in texts for side in sides], tokenizer))
        for row, sides in zip(batch, texts, strict=True):
            sizes = list(islice(counts, len(sides)))
            lengths.row.append(max(sizes))
            lengths.tokens += sum(sizes)
            if isinstance(row, Pair):
                lengths.chosen.append(sizes[0])
                lengths.rejected.append(sizes[1])
    return lengths


def _sides(row: Row) -> list[Messages]:
    if isinstance(row, Pair):
        return [row.prompt + row.chosen, row.prompt + row.rejected]
    return [row.messages if isinstance(row, Conversation) else row.prompt]


def _counts(conversations: Sequence[Messages], tokenizer: Any) -> list[int]:
    turns: list[list[Message]] = [list(messages) for messages in conversations]
    texts = tokenizer.apply_chat_template(turns, tokenize=False)
    # The template writes special tokens itself.
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
