"""Kinds of files: compressed, columnar, long, cut off, hostile; and the columns that a manifest renames."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from alignment_api.contract import JobLayout, JobReference
from alignment_api.v1alpha1.dataset import DatasetSource
from alignment_trainer.data import sources
from alignment_trainer.data.files import read_rows
from alignment_trainer.data.files.row import LONGEST
from alignment_trainer.exceptions import DataError

ROWS: list[dict[str, Any]] = [{"prompt": f"p{i}", "completion": f'c, "{i}"'} for i in range(3000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
FIELD = "spec.stages[0].dataset"


def read(workspace: Path, source: dict[str, Any]) -> list[sources.SourceItem]:
    layout = JobLayout(workspace, JobReference(namespace="n", name="j", uid="12345678"))
    return list(sources.read(DatasetSource.model_validate(source), layout, FIELD))


def zstandard(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def arrow_stream(rows: list[dict[str, Any]]) -> bytes:
    table, sink = pyarrow.Table.from_pylist(rows), io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def arrow_file(rows: list[dict[str, Any]]) -> bytes:
    table, sink = pyarrow.Table.from_pylist(rows), io.BytesIO()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    return sink.getvalue()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard,
}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed_text_in_one_part_or_several(tmp_path: Path, suffix: str) -> None:
    compress, middle = COMPRESSIONS[suffix], LINES.index(b"\n", len(LINES) // 2) + 1
    (tmp_path / f"one.jsonl{suffix}").write_bytes(compress(LINES))
    (tmp_path / f"two.jsonl{suffix}").write_bytes(compress(LINES[:middle]) + compress(LINES[middle:]))
    for name in ("one", "two"):
        items = read(tmp_path, {"volume": {"path": f"{name}.jsonl{suffix}"}})
        assert [item.value for item in items] == ROWS
        assert items[-1].where == f"{name}.jsonl{suffix} line {len(ROWS)}"
    (tmp_path / f"list.json{suffix}").write_bytes(compress(json.dumps(ROWS).encode()))
    assert [item.value for item in read(tmp_path, {"volume": {"path": f"list.json{suffix}"}})] == ROWS


@pytest.mark.parametrize("content", [arrow_stream(ROWS), arrow_file(ROWS)], ids=["stream", "file"])
def test_both_kinds_of_arrow(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.arrow").write_bytes(content)
    items = read(tmp_path, {"volume": {"path": "rows.arrow"}})
    assert [item.value for item in items] == ROWS
    assert items[-1].where == "rows.arrow row 3000"


def test_a_folder_that_datasets_wrote(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "data"), num_shards=2)
    assert [item.value for item in read(tmp_path, {"volume": {"path": "data"}})] == ROWS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"rows.jsonl{suffix}", compress(LINES)[:-5]) for suffix, compress in COMPRESSIONS.items()),
        *((f"rows.jsonl{suffix}", b"neither compressed nor text") for suffix in COMPRESSIONS),
        ("rows.parquet", parquet(ROWS)[:-9]),
        ("rows.parquet", b""),
        ("rows.arrow", arrow_stream(ROWS)[:-2000]),
        ("rows.arrow", arrow_file(ROWS)[:-9]),
        ("rows.arrow", b""),
        ("rows.json", b'[{"a": 1} {"a": 2}]'),
        ("rows.json", b'[{"a": 1}] []'),
        ("rows.json", b'[{"a": \xff}]'),
        ("rows.json", b"[" * 100_000),
        ("rows.csv", b"a,b,a\n1,2,3\n"),
        ("rows.csv", "a\nä\n".encode("latin-1")),
        ("rows.csv", "a\nb\n".encode("utf-16")),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"volume": {"path": name}})
    (problem,) = caught.value.problems
    assert problem.field == f"{FIELD}.volume.path"
    assert problem.message.startswith(f"{name} cannot be read: ")


@pytest.mark.parametrize("name", ["rows.parquet.gz", "rows.arrow.zst", "rows.gz", "rows", "rows.jsonl.zip"])
def test_names_that_are_of_no_kind(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"its name must end in \.jsonl"):
        read(tmp_path, {"volume": {"path": name}})


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        ("  \n ", []),
        ("[]", []),
        (" \n[ ] \n", []),
        ('\ufeff[{"a": 1}]', [("row 1", {"a": 1})]),
        ('\n[{"a": 1}\n,\n{"a": [2]}]\n', [("row 1", {"a": 1}), ("row 2", {"a": [2]})]),
        ('[{"a": 1}, 22, {"a": 3}]', [("row 1", {"a": 1}), ("row 2", None), ("row 3", {"a": 3})]),
        (r'[{"a": "\ud83d"}, {"a": "\ud83d\ude00"}]', [("row 1", None), ("row 2", {"a": "\U0001f600"})]),
        ('\ufeff{"a": 1}\n\n{"a": 2}', [("line 1", {"a": 1}), ("line 3", {"a": 2})]),
        ('\n\n{"a": 1}\n7\n', [("line 3", {"a": 1}), ("line 4", None)]),
        ('[{"a": 1}]\n[{"a": 2}]'.replace("[", "").replace("]", ""), [("line 1", {"a": 1}), ("line 2", {"a": 2})]),
    ],
)
def test_json_files_hold_a_list_or_lines(text: str, rows: list[tuple[str, Any]]) -> None:
    found = [(row.where, row.value) for row in read_rows("rows.json", io.BytesIO(text.encode()))]
    assert found == rows


def test_a_row_too_long_for_memory_is_a_bad_row(tmp_path: Path) -> None:
    with (tmp_path / "rows.jsonl").open("wb") as file:
        file.write(b'{"a": "')
        for _ in range(3):
            file.write(b"x" * LONGEST)
        file.write(b'"}\n{"a": 1}\n')
    long, short = read(tmp_path, {"volume": {"path": "rows.jsonl"}})
    assert (long.where, long.value) == ("rows.jsonl line 1", None)
    assert "longer than 64 MiB" in long.error
    assert (short.where, short.value) == ("rows.jsonl line 2", {"a": 1})


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.json", "rows.csv", "rows.arrow", "rows.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    rows = [{"text": f"{i:06} " + "x" * 1000} for i in range(8000)]
    path = tmp_path / name
    match name:
        case "rows.jsonl.gz":
            path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        case "rows.json":
            path.write_text(json.dumps(rows))
        case "rows.csv":
            path.write_text("text\n" + "".join(f"{row['text']}\n" for row in rows))
        case "rows.arrow":
            path.write_bytes(arrow_file(rows))
        case "rows.parquet":
            path.write_bytes(parquet(rows))
    del rows
    with path.open("rb", buffering=0) as file:
        items = read_rows(name, file)
        assert len(list(islice(items, 10))) == 10
        tracemalloc.start()
        assert sum(row.value is not None for row in items) == 7990
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5 << 20, f"{peak >> 20} MiB of 8 MiB of text"


def test_columns_are_renamed(tmp_path: Path) -> None:
    row = {"question": "a", "prompt": "old", "data": {"answer": {"text": "b"}}, "meta.id": 7, "rest": [1]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    columns = {"prompt": "question", "completion": "data.answer.text", "id": "meta.id"}
    (item,) = read(tmp_path, {"volume": {"path": "rows.jsonl"}, "columns": columns})
    assert item.value == {"prompt": "a", "completion": "b", "id": 7, "data": row["data"], "rest": [1]}
    swapped = {"volume": {"path": "rows.jsonl"}, "columns": {"prompt": "question", "question": "prompt"}}
    (item,) = read(tmp_path, swapped)
    assert item.value == {**row, "prompt": "a", "question": "old"}


@pytest.mark.parametrize("path", ["nothing", "data.nothing", "question.text", "data.answer.text.more"])
def test_a_row_without_a_renamed_column_names_both(tmp_path: Path, path: str) -> None:
    rows = [{"inline": {"rows": [{"question": "a", "data": {"answer": {"text": "b"}}}]}, "columns": {"prompt": path}}]
    (item,) = read(tmp_path, rows[0])
    assert item.value is None
    assert item.error == (
        f"column prompt: columns takes it from {path}, which this row lacks; its columns are: data, question"
    )
