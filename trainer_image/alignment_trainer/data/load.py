"""Reads, converts and checks the rows of one dataset, and decides whether too many are bad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from alignment_api.contract import JobLayout, Problem
from alignment_api.v1alpha1 import Dataset, DatasetFormat, Method
from alignment_api.v1alpha1.dataset import INSTRUCTION_FORMATS
from alignment_api.v1alpha1.validation.data import FORMATS_OF_METHOD

from ..exceptions import DataError
from . import sources
from .formats import FORMATS, SourceRow, describe, detect
from .rows import Conversation, Pair, Prompt, Row, RowError, labelled, last_prompt
from .validate import check

_SHOWN = 5
"""Bad rows quoted in an error; all of them are in the report folder."""


@dataclass(frozen=True)
class InvalidRow:
    """A row that cannot be used, and why."""

    where: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {'; '.join(self.reasons)}"


@dataclass
class Loaded:
    """The rows of a dataset.

    Attributes:
        format: the format they were read in; None of a dataset without a readable row.
        total: rows in the source.
        rows: valid rows, in the order of the source.
        invalid: the others.
    """

    format: DatasetFormat | None = None
    total: int = 0
    rows: list[Row] = field(default_factory=list)
    invalid: list[InvalidRow] = field(default_factory=list)


def load(dataset: Dataset, method: Method, layout: JobLayout, path: str) -> Loaded:
    """Read every row of ``dataset``, valid or not; memory grows with the valid rows.

    Args:
        dataset: what to read; not of the kind ``heldOutFromStage``.
        method: the stage's method, which decides what kind of rows it needs.
        layout: the job's folders.
        path: path of the dataset in the manifest, for errors.

    Raises:
        DataError: the source cannot be read, its format is not recognised or not one the method can use.
        UnavailableError: the hub cannot be reached.
    """
    loaded = Loaded()
    for item in sources.read(dataset, layout, path):
        loaded.total += 1
        if item.value is None:
            loaded.invalid.append(InvalidRow(item.where, (item.error,)))
            continue
        if loaded.format is None:
            loaded.format = _format_of(item.where, item.value, dataset, method, path)
        rows, errors = _convert(item.value, loaded.format)
        if errors:
            loaded.invalid.append(InvalidRow(item.where, tuple(dict.fromkeys(map(str, errors)))))
        else:
            loaded.rows.extend(standard for row in rows for standard in _for_method(row, method))
    return loaded


def refuse_if_too_bad(loaded: Loaded, dataset: Dataset, path: str, report: str) -> None:
    """Hold the dataset against its limit on bad rows.

    Args:
        loaded: its rows.
        dataset: the dataset.
        path: its path in the manifest.
        report: where all invalid rows are listed, as people find it.

    Raises:
        DataError: there are no rows, or more than ``quality.maxInvalidFraction`` of them are invalid.
    """
    name = sources.describe(dataset)
    if loaded.total == 0:
        raise _refused(path, f"{name} has no rows")
    limit = dataset.quality.max_invalid_fraction
    bad = len(loaded.invalid)
    if bad > limit * loaded.total:
        quoted = " | ".join(str(row) for row in loaded.invalid[:_SHOWN])
        more = f" | {bad - _SHOWN} more in {report}" if bad > _SHOWN else ""
        raise _refused(
            path,
            f"{bad} of {loaded.total} rows of {name} are invalid, and quality.maxInvalidFraction is {limit:g}: correct "
            f"the rows or raise the limit. {quoted[:1500]}{more}",
        )
    if not loaded.rows:
        raise _refused(path, f"all {loaded.total} rows of {name} are invalid: {loaded.invalid[0]}")


def _format_of(where: str, row: SourceRow, dataset: Dataset, method: Method, path: str) -> DatasetFormat:
    """The format of the dataset, from the manifest or from its first readable row."""
    if dataset.format is not DatasetFormat.AUTO:
        return dataset.format
    columns = ", ".join(sorted(map(str, row))) or "none"
    usable = _formats_for(method)
    found = detect(row, usable)
    if found is not None:
        return found
    other = detect(row)
    if other is None:
        message = f"no format has the columns of {where} ({columns}); known formats: {describe()}"
        raise _refused(f"{path}.format", message)
    names = ", ".join(name.value for name in FORMATS if name in usable)
    message = f"{where} (columns {columns}) looks like {other.value}, but {method} needs one of: {names}"
    raise _refused(f"{path}.format", message)


def _formats_for(method: Method) -> frozenset[DatasetFormat]:
    if method is Method.EVALUATE:
        return FORMATS_OF_METHOD[method] | INSTRUCTION_FORMATS  # of demonstrations it uses the prompts
    return FORMATS_OF_METHOD[method]


def _convert(value: SourceRow, name: DatasetFormat) -> tuple[tuple[Row, ...], list[RowError]]:
    try:
        rows = FORMATS[name].convert(value)
    except RowError as error:
        return (), [error]
    return rows, [error for row in rows for error in check(row)]


def _for_method(row: Row, method: Method) -> tuple[Row, ...]:
    """Evaluation asks the questions of demonstrations and needs no answers; KTO learns from each side of a pair."""
    if method is Method.EVALUATE and isinstance(row, Conversation):
        return (Prompt(last_prompt(row)),)
    if method is Method.KTO and isinstance(row, Pair):
        return labelled(row)
    return (row,)


def invalid_lines(loaded: Loaded) -> Iterator[dict[str, object]]:
    """The invalid rows as records of ``invalid.jsonl``."""
    for row in loaded.invalid:
        yield {"row": row.where, "reasons": list(row.reasons)}


def _refused(path: str, message: str) -> DataError:
    return DataError(message, [Problem(field=path, message=message)])
