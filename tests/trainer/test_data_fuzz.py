"""What no input may do: end in another error than the one for users, or vanish without a word."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignment_api.contract import JobLayout, JobReference
from alignment_api.v1alpha1.dataset import DatasetSource
from alignment_trainer.data import sources
from alignment_trainer.data.columns import rename
from alignment_trainer.data.files import FileRow, read_rows
from alignment_trainer.data.formats import FORMATS, detect
from alignment_trainer.data.rows import Pair, Prompt, RowError, labelled, last_prompt, opening
from alignment_trainer.data.similarity import near_identical
from alignment_trainer.data.validate import check

# The same examples in every run, as many as they are, however slow the machine.
FUZZ = settings(
    derandomize=True, deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow], database=None
)

TEXT = st.text(max_size=12) | st.sampled_from(["", " ", "yes", "Yes.", "\n\nHuman: a\n\nAssistant: b", "1", "true"])
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
KEYS = st.sampled_from(["role", "content", "from", "value", "x"]) | st.text(max_size=3)
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
ROLE = st.sampled_from(["system", "user", "assistant", "human", "gpt", "tool"])
TURN = st.fixed_dictionaries({"role": ROLE, "content": TEXT}) | st.fixed_dictionaries({"from": ROLE, "value": TEXT})
NOT_JSON = st.binary(max_size=4) | st.dates() | st.datetimes() | st.decimals() | st.tuples(SCALAR) | st.sets(TEXT)
VALUE = st.one_of(TEXT, st.lists(TURN, max_size=4), st.lists(TEXT, max_size=4), JSON, NOT_JSON)
CHAT = ["messages", "conversations", "instruction", "input", "output", "system"]
PAIRS = ["chosen", "rejected", "margin", "score_chosen", "score_rejected", "good", "bad"]
COLUMN = st.sampled_from(["prompt", "completion", "label", *CHAT, *PAIRS]) | st.text(max_size=4)
ROW = st.dictionaries(COLUMN, VALUE, max_size=6)


@FUZZ
@given(row=ROW)
def test_a_row_becomes_rows_or_an_error_in_every_format(row: dict[str, Any]) -> None:
    detect(row)
    for known in FORMATS.values():
        known.matches(row)
        try:
            converted = known.convert(row)
        except RowError:
            continue  # any other exception fails the test
        assert converted
        for standard in converted:
            errors = check(standard)
            assert all(isinstance(error, RowError) for error in errors)
            if errors:
                continue
            assert opening(standard)
            assert last_prompt(standard)
            if isinstance(standard, Pair):
                near_identical(standard)
                assert not any(check(side) for side in labelled(standard))
            if isinstance(standard, Prompt):
                assert set(standard.extra) == {name for name in row if name != "prompt"}
                json.dumps(standard.extra)


@FUZZ
@given(row=ROW, columns=st.dictionaries(COLUMN, COLUMN | st.just("prompt.role.x"), max_size=3))
def test_renamed_columns_are_there_or_are_missed(row: dict[str, Any], columns: dict[str, str]) -> None:
    try:
        renamed = rename(row, columns)
    except RowError:
        assert not set(columns.values()) <= set(row)
        return
    assert set(renamed) >= set(columns)
    assert all(renamed[name] is value for name, value in row.items() if name not in {*columns, *columns.values()})


TABLE: list[dict[str, Any]] = [
    {"prompt": f"p{i}", "turns": [{"role": "user", "content": "x" * i}], "n": i, "f": None if i % 3 else 1.5}
    for i in range(30)
]


def valid_files() -> dict[str, bytes]:
    """A file of each kind."""
    table = pyarrow.Table.from_pylist(TABLE)
    lines = "".join(json.dumps(row) + "\n" for row in TABLE).encode()
    parquet, stream, file, text = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.StringIO()
    pyarrow.parquet.write_table(table, parquet)
    for sink, kind in ((stream, pyarrow.ipc.new_stream), (file, pyarrow.ipc.new_file)):
        with kind(sink, table.schema) as writer:
            writer.write_table(table)
    rows = csv.DictWriter(text, list(TABLE[0]))
    rows.writeheader()
    rows.writerows(TABLE)
    compressed = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(compressed, "zstd") as output:
        output.write(lines)
    return {
        "a.jsonl": lines,
        "a.json": json.dumps(TABLE).encode(),
        "a.csv": text.getvalue().encode(),
        "a.parquet": parquet.getvalue(),
        "stream.arrow": stream.getvalue(),
        "file.arrow": file.getvalue(),
        "a.jsonl.gz": gzip.compress(lines),
        "a.csv.bz2": bz2.compress(text.getvalue().encode()),
        "a.json.xz": lzma.compress(json.dumps(TABLE).encode()),
        "a.jsonl.zst": bytes(compressed.getvalue()),
    }


FILES = valid_files()
FEWER = settings(FUZZ, max_examples=80)


def rows_of(name: str, content: bytes) -> list[FileRow]:
    """The rows up to the first error of the file as a whole; any error but the announced ones fails the test."""
    found: list[FileRow] = []
    try:
        for row in read_rows(name, io.BytesIO(content)):
            found.append(row)
            assert (row.value is None) is bool(row.error)
            if row.value is not None:
                repr(row.value).encode()
    except (OSError, ValueError):
        pass
    return found


@pytest.mark.parametrize("name", FILES)
def test_valid_files_have_all_their_rows(name: str) -> None:
    assert len(rows_of(name, FILES[name])) == len(TABLE)


@pytest.mark.parametrize("name", FILES)
@FEWER
@given(data=st.data())
def test_damaged_files_yield_rows_or_the_files_error(name: str, data: st.DataObject) -> None:
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, max(len(content) - 1, 0)))
        content[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    rows_of(name, bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]))


@FUZZ
@given(name=st.sampled_from(sorted(FILES)), content=st.binary(max_size=200))
def test_any_bytes_yield_rows_or_the_files_error(name: str, content: bytes) -> None:
    rows_of(name, content)


LINE = st.one_of(
    st.binary(max_size=20),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(COLUMN, JSON, max_size=3).map(lambda value: json.dumps(value).encode()),
).map(lambda line: line.replace(b"\n", b" "))


@FUZZ
@given(lines=st.lists(LINE, max_size=8))
def test_every_line_is_a_row_or_an_error(lines: list[bytes]) -> None:
    found = rows_of("a.jsonl", b"\n".join(lines))
    bare = [lines[0].removeprefix(b"\xef\xbb\xbf"), *lines[1:]] if lines else []
    assert [row.where for row in found] == [f"line {n}" for n, line in enumerate(bare, 1) if line.strip()]


@FUZZ
@given(values=st.lists(JSON | st.dictionaries(COLUMN, JSON, max_size=3), max_size=8), indent=st.none() | st.just(2))
def test_every_value_of_a_list_is_a_row_or_an_error(values: list[Any], indent: int | None) -> None:
    found = rows_of("a.json", json.dumps(values, indent=indent).encode())
    assert [repr(row.value) for row in found] == [repr(v) if isinstance(v, dict) else "None" for v in values]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@FUZZ
@given(rows=st.lists(st.fixed_dictionaries({"prompt": CELL, "completion": CELL}), max_size=6))
def test_what_is_written_is_read(rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, ["prompt", "completion"])
    table.writeheader()
    table.writerows(rows)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    assert [row.value for row in rows_of("a.csv", text.getvalue().encode())] == rows
    assert [row.value for row in rows_of("a.jsonl", lines)] == rows
    assert [row.value for row in rows_of("a.jsonl.gz", gzip.compress(lines))] == rows
    assert [row.value for row in rows_of("a.json", json.dumps(rows).encode())] == rows


@FEWER
@given(rows=st.lists(st.dictionaries(COLUMN, JSON, max_size=4), min_size=1, max_size=5), limit=st.integers(0, 6))
def test_inline_rows_are_all_there(rows: list[dict[str, Any]], limit: int) -> None:
    source = DatasetSource.model_validate({"inline": {"rows": rows}, "columns": {"prompt": "x.y"}})
    layout = JobLayout(Path("nowhere"), JobReference(namespace="n", name="j", uid="12345678"))
    items = list(sources.read(source, layout, "spec", limit=limit))
    assert [item.where for item in items] == [f"inline row {n}" for n in range(1, len(rows) + 1)][:limit]
    assert all((item.value is None) is bool(item.error) for item in items)
