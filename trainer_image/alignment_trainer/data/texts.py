"""Texts whose perplexity an evaluate stage measures: read and checked by Prepare, kept beside the stage's data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import JobLayout, StageLayout
from alignment_api.v1alpha1.evaluation import TextCorpus

from . import sources
from .built_once import build
from .formats.base import type_name
from .sources.item import SourceItem, data_error

_DOCUMENTS: Final = "documents.jsonl"
_COLUMNS_SHOWN: Final = 20


def folder_of(text: TextCorpus, folders: StageLayout) -> Path:
    """Where the documents are; its completion marker holds their digest."""
    return folders.data / "texts" / text.name


def read(text: TextCorpus, folders: StageLayout) -> list[str]:
    """The documents that Prepare found, in their order."""
    with (folder_of(text, folders) / _DOCUMENTS).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def prepare(text: TextCorpus, folders: StageLayout, layout: JobLayout, field: str) -> None:
    """Write the documents of ``text``, one JSON string a line, or find them written.

    Rows are read one by one as far as they are needed, from the hub or a store too. Empty ones do not count.

    Args:
        text: the text.
        folders: folders of the stage.
        layout: folders of the job.
        field: path of the text in the manifest.

    Raises:
        DataError: a row has no such column, or no text in it; or all are empty.
        ConfigurationError: the hub or the store refuses access.
        UnavailableError: the hub or the store cannot be reached.
    """

    def fill(folder: Path) -> None:
        count = 0
        with (folder / _DOCUMENTS).open("w", encoding="utf-8") as file:
            for count, document in enumerate(_documents(text, layout, field), start=1):  # noqa: B007
                file.write(json.dumps(document) + "\n")
        if not count:
            raise data_error(field, f"{sources.describe(text)} has no text in column {text.column}: name another")

    build(folder_of(text, folders), text.model_dump_json(), fill)


def _documents(text: TextCorpus, layout: JobLayout, field: str) -> Iterator[str]:
    rows = sources.read(text, layout, field, stream=True)
    documents = (_document(item, text, field) for item in rows)
    return islice((document for document in documents if document.strip()), text.max_samples)


def _document(item: SourceItem, text: TextCorpus, field: str) -> str:
    if item.value is None:
        raise data_error(field, f"{item.where} cannot be read: {item.error}")
    if text.column not in item.value:
        there = ", ".join([*item.value][:_COLUMNS_SHOWN])
        message = f"{item.where} has no column {text.column}, but {there or 'none'}: name the column with the text"
        raise data_error(f"{field}.column", message)
    document: Any = item.value[text.column]
    if not isinstance(document, str):
        message = (
            f"{item.where}: column {text.column} holds {type_name(document)}, not text: name the column with the text"
        )
        raise data_error(f"{field}.column", message)
    return document
