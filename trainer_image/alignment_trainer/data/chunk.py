"""One chunk of source rows -> standard rows on disk, their facts, and the rows that are invalid.

Runs in the process that reads, or for large data in processes of its own, so everything here can be pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import DatasetFormat, Method, Stage

from ..exceptions import ConfigurationError
from . import facts, keys, lengths, limits, table
from .facts import FactArray
from .formats import FORMATS
from .rows import Conversation, Labelled, Pair, Prompt, Row, RowError, labelled, last_prompt
from .similarity import near_identical
from .sources import SourceItem
from .validate import check


@dataclass(frozen=True)
class InvalidRow:
    """A row that cannot be used, and why."""

    where: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Chunk:
    """Rows that follow each other in one source.

    Attributes:
        items: the rows.
        format: how to read them; None of records of prepared data, and as long as none could be read at all.
        part: index of the source.
        file: where the standard rows go.
    """

    items: Sequence[SourceItem]
    format: DatasetFormat | None
    part: int
    file: Path


@dataclass(frozen=True)
class Converted:
    """What became of a chunk.

    Attributes:
        part: index of its source.
        total: rows of the source.
        valid: standard rows made of them.
        facts: of each standard row, in the order of the file; none if nothing was measured.
        invalid: the rows that cannot be used.
        kinds: further columns of prompts.
        file: the standard rows, a table in the columns of `table.schema`.
        bytes: its size.
    """

    part: int
    total: int
    valid: int
    facts: FactArray
    invalid: list[InvalidRow]
    file: Path
    bytes: int = 0
    kinds: table.ColumnKinds = field(default_factory=dict)


class Converter:
    """Converts chunks for one stage.

    Args:
        stage: decides what kind of rows is needed.
        tokenizer: measures them; without it nothing is measured or written.
    """

    def __init__(self, stage: Stage, tokenizer: Any | None) -> None:
        self._stage = stage
        self._tokenizer = tokenizer

    def __call__(self, chunk: Chunk) -> Converted:
        """Convert, check, measure and write ``chunk``.

        Raises:
            ConfigurationError: the chat template refuses a row.
        """
        rows: list[Row] = []
        places: list[str] = []
        near: list[bool] = []
        invalid: list[InvalidRow] = []
        for item in chunk.items:
            found, reasons = _convert(item, chunk)
            if reasons:
                invalid.append(InvalidRow(item.where, reasons))
                continue
            for row in found:
                wanted = _for_method(row, self._stage.method)
                rows += wanted
                places += [item.where] * len(wanted)
                near += [isinstance(row, Pair) and near_identical(row)] * len(wanted)
        if self._tokenizer is None or not rows:
            return Converted(chunk.part, len(chunk.items), len(rows), facts.none(), invalid, chunk.file)
        found_facts = self._facts(rows, places, chunk.part)
        found_facts["near_identical"] = near
        rows_table = table.to_table(rows, places, self._stage)
        with pa.ipc.new_file(str(chunk.file), rows_table.schema) as writer:
            writer.write_table(rows_table)
        size = chunk.file.stat().st_size
        return Converted(
            chunk.part, len(chunk.items), len(rows), found_facts, invalid, chunk.file, size, table.kinds_of(rows)
        )

    def _facts(self, rows: Sequence[Row], places: Sequence[str], part: int) -> FactArray:
        found = np.zeros(len(rows), dtype=facts.FACTS)
        measured = self._measure(rows, places)
        seed = self._stage.dataset.seed
        found["row"] = [keys.row_key(row) for row in rows]
        found["normalized"] = [keys.normalized_key(row) for row in rows]
        found["prompt"] = [keys.prompt_key(row) for row in rows]
        found["point"] = [keys.hold_out_point(row, seed) for row in rows]
        found["length"] = [length.row for length in measured]
        found["chosen"] = [length.chosen for length in measured]
        found["rejected"] = [length.rejected for length in measured]
        found["part"] = part
        found["label"] = [int(row.label) if isinstance(row, Labelled) else -1 for row in rows]
        found["margin"] = [isinstance(row, Pair) and row.margin is not None for row in rows]
        found["no_room"] = self._without_room(rows, found["length"])
        return found

    def _measure(self, rows: Sequence[Row], places: Sequence[str]) -> list[lengths.Length]:
        try:
            return lengths.measure(rows, self._tokenizer)
        except (jinja2.TemplateError, TypeError, ValueError):
            for row, where in zip(rows, places, strict=True):
                try:
                    lengths.measure([row], self._tokenizer)
                except (jinja2.TemplateError, TypeError, ValueError) as error:
                    message = f"the chat template refuses a row of stage {self._stage.name}, {where}: {error}"
                    problem = Problem(field="spec.tokenizer.chatTemplate", message=message)
                    raise ConfigurationError(message, [problem]) from error
            raise

    def _without_room(self, rows: Sequence[Row], tokens: lengths.Counts) -> facts.Mask:
        """Which rows have a prompt that alone fills maxLength; the prompts of long rows alone are tokenized again."""
        mask = np.zeros(len(rows), dtype=bool)
        limit = limits.max_length(self._stage)
        if limit is not None and limits.needs_room_after_prompt(self._stage):
            long = np.flatnonzero(tokens > limit).tolist()
            prompts = lengths.measure_prompts([rows[i] for i in long], self._tokenizer)
            mask[long] = [count >= limit for count in prompts]
        return mask


def _convert(item: SourceItem, chunk: Chunk) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The standard rows of a source row, or what is wrong with it."""
    if item.value is None:
        return (), (item.error,)
    if chunk.format is None:
        return (table.from_record(item.value),), ()
    try:
        rows = FORMATS[chunk.format].convert(item.value)
    except RowError as error:
        return (), (str(error),)
    return rows, tuple(dict.fromkeys(str(error) for row in rows for error in check(row)))


def _for_method(row: Row, method: Method) -> tuple[Row, ...]:
    """What the method learns from: labelled responses for KTO; evaluation needs pairs or questions alone."""
    if method is Method.KTO and isinstance(row, Pair):
        return labelled(row)
    if method is Method.EVALUATE and isinstance(row, Conversation | Labelled | Prompt):
        return (Prompt(last_prompt(row)),)
    return (row,)
