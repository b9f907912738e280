"""Reads, converts, checks and measures the rows of a stage's sources; the rows go to disk, their facts stay."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import JobLayout
from alignment_api.v1alpha1 import Dataset, DatasetFormat, DatasetSource, Stage
from alignment_api.v1alpha1.dataset import field_below

from ..exceptions import DeviceMemoryError
from . import facts, sources, table
from .chunk import Chunk, Converted, Converter, InvalidRow
from .detection import format_of
from .dropped import DroppedRows
from .facts import EVAL_PART, FactArray
from .parallel import available_processors, ordered_map
from .row_files import RowFile
from .sources import SourceItem

CHUNK: Final = 500
"""Rows converted at a time: enough to tokenize them in one call, few enough to hold some chunks of long rows."""
_SHOWN: Final = 5
"""Bad rows quoted in an error; all of them are in the report folder."""


@dataclass
class Source:
    """One source and what was found in it.

    Attributes:
        part: its index in facts.
        name: what it is, for people.
        path: its path in the manifest.
        spec: how to read it; None of another stage's prepared data.
        format: the format its rows were read in; None of one without a readable row.
        total: rows read.
        valid: standard rows made of them.
        invalid: rows that cannot be used.
        first_invalid: the first of them.
    """

    part: int
    name: str
    path: str
    spec: DatasetSource | None = None
    format: DatasetFormat | None = None
    total: int = 0
    valid: int = 0
    invalid: int = 0
    first_invalid: list[InvalidRow] = field(default_factory=list)


@dataclass
class Loaded:
    """The rows of a stage.

    Attributes:
        sources: where they come from.
        facts: of every valid row, in the order of the sources.
        files: the valid rows.
        kinds: further columns of prompts.
    """

    sources: list[Source] = field(default_factory=list)
    facts: FactArray = field(default_factory=facts.none)
    files: list[RowFile] = field(default_factory=list)
    kinds: table.ColumnKinds = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Rows read."""
        return sum(source.total for source in self.sources)

    @property
    def invalid(self) -> int:
        """Rows that cannot be used."""
        return sum(source.invalid for source in self.sources)


class Loader:
    """Loads the rows of one stage, once.

    Args:
        stage: the stage.
        tokenizer: measures the rows; without it they are only checked.
        layout: the job's folders.
        scratch: an empty folder for the rows.
        dropped: gets the invalid rows.
    """

    def __init__(
        self, stage: Stage, tokenizer: Any | None, layout: JobLayout, scratch: Path, dropped: DroppedRows
    ) -> None:
        self._stage = stage
        self._converter = Converter(stage, tokenizer)
        self._layout = layout
        self._scratch = scratch
        self._dropped = dropped
        self._loaded = Loaded()
        self._facts: list[FactArray] = []

    def load(self, dataset: Dataset, path: str) -> Loaded:
        """Read every row of the sources of ``dataset``, valid or not.

        Args:
            dataset: the stage's dataset, which is not of the kind ``heldOutFromStage``.
            path: its path in the manifest, for errors.

        Raises:
            DataError: a source cannot be read, its format is not recognised or not one the method can use.
            ConfigurationError: the chat template refuses a row.
            UnavailableError: the hub or store cannot be reached.
        """
        for number, (below, source) in enumerate(dataset.sources()):
            part = EVAL_PART if source is dataset.eval_dataset else number
            at = field_below(path, below)
            here = Source(part, sources.describe(source), at, source)
            items = sources.read(source, self._layout, at, stream=dataset.stream)
            self._read(here, items, _limit(dataset, part))
        return self._result()

    def load_records(self, records: Iterator[dict[str, Any]], name: str, path: str) -> Loaded:
        """Take the rows of another stage's prepared data, called ``name``."""
        items = (SourceItem(f"row {number}", record) for number, record in enumerate(records, start=1))
        self._read(Source(0, name, path), items, None)
        return self._result()

    def _read(self, source: Source, items: Iterator[SourceItem], limit: int | None) -> None:
        """Convert the rows of ``source``; with a limit, no more than it takes to get so many valid ones."""
        self._loaded.sources.append(source)
        chunks = self._chunks(source, items, limit)
        try:
            for converted in ordered_map(self._converter, chunks, available_processors()):
                self._add(source, converted, limit)
        except BrokenProcessPool as error:
            raise DeviceMemoryError(
                "a process that checks rows was killed, most likely because memory ran out: raise "
                "spec.prepare.resources"
            ) from error

    def _result(self) -> Loaded:
        self._loaded.facts = facts.joined(self._facts)
        return self._loaded

    def _chunks(self, source: Source, items: Iterator[SourceItem], limit: int | None) -> Iterator[Chunk]:
        number = 0
        while limit is None or source.valid < limit:
            rows = list(islice(items, CHUNK if limit is None else min(CHUNK, limit - source.valid)))
            if not rows:
                return
            if source.spec is not None and source.format is None:
                source.format = format_of(rows, source.spec, self._stage.method, source.path)
            file = self._scratch / f"{source.part}-{number}.arrow"
            yield Chunk(rows, source.format, source.part, file)
            number += 1

    def _add(self, source: Source, converted: Converted, limit: int | None) -> None:
        if limit is not None and source.valid >= limit:
            return  # converted ahead; how far ahead differs between machines
        source.total += converted.total
        source.invalid += len(converted.invalid)
        for row in converted.invalid:
            self._dropped.add(row.where, row.reasons)
        source.first_invalid += converted.invalid[: max(0, _SHOWN - len(source.first_invalid))]
        count = converted.valid if limit is None else min(converted.valid, limit - source.valid)
        source.valid += count
        if len(converted.facts):
            self._facts.append(converted.facts[:count])
            self._loaded.files.append(RowFile(converted.file, count, converted.bytes))
            self._loaded.kinds = table.merged(self._loaded.kinds, converted.kinds)


def _limit(dataset: Dataset, part: int) -> int | None:
    """Rows of a source that are enough when it is read as a stream; None for all of them."""
    if not dataset.stream or dataset.max_samples is None or part == EVAL_PART:
        return None
    weights = [mixed.weight for mixed in dataset.mixture or ()]
    weight = weights[part] if weights else None
    if weight is None:
        return dataset.max_samples
    return int(-(-dataset.max_samples * weight // sum(value for value in weights if value is not None)))
