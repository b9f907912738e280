"""Which format the rows of a source are in."""

from __future__ import annotations

from collections.abc import Sequence

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import DatasetFormat, DatasetSource, Method
from alignment_api.v1alpha1.dataset import INSTRUCTION_FORMATS
from alignment_api.v1alpha1.validation.data import FORMATS_OF_METHOD

from ..exceptions import DataError
from .formats import FORMATS, describe, detect
from .sources import SourceItem


def format_of(items: Sequence[SourceItem], source: DatasetSource, method: Method, path: str) -> DatasetFormat | None:
    """The format of a source, from the manifest or from the first readable row of ``items``; None if there is none.

    Raises:
        DataError: the row looks like no format, or like one that the method cannot use.
    """
    if source.format is not DatasetFormat.AUTO:
        return source.format
    first = next(((item.where, item.value) for item in items if item.value is not None), None)
    if first is None:
        return None
    where, row = first
    usable = _formats_for(method)
    found = detect(row, usable)
    if found is not None:
        return found
    columns = ", ".join(sorted(map(str, row))) or "none"
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


def _refused(path: str, message: str) -> DataError:
    return DataError(message, [Problem(field=path, message=message)])
