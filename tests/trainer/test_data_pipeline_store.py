"""Rows on their way through files: any order, several spill files and shards, several processes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasets import load_from_disk

from alignment_api.v1alpha1 import Stage
from alignment_trainer.data import dataset_folder, parallel, row_files, table
from alignment_trainer.data.row_files import RowFile, places, write_dataset
from alignment_trainer.data.rows import Conversation, Prompt, Role, message
from alignment_trainer.data.table import Columns

SFT = Stage.model_validate(
    {"name": "sft", "dataset": {"inline": {"rows": [{}]}}, "sft": {"lossOn": "all"}, "training": {}}
)
NO_COLUMNS = Columns(frozenset(), {})


def files_of(folder: Path, sizes: list[int]) -> list[RowFile]:
    """Files of conversations that say their number."""
    files: list[RowFile] = []
    start = 0
    for size in sizes:
        numbers = range(start, start + size)
        rows = [Conversation((message(Role.USER, "q"), message(Role.ASSISTANT, str(i)))) for i in numbers]
        rows_table = table.to_table(rows, [f"line {i}" for i in numbers], SFT)
        path = folder / f"{len(files)}.arrow"
        with pa.ipc.new_file(str(path), rows_table.schema) as writer:
            writer.write_table(rows_table)
        files.append(RowFile(path, size, path.stat().st_size))
        start += size
    return files


def said(folder: Path) -> list[int]:
    return [int(row["messages"][1]["content"]) for row in load_from_disk(str(folder))]


@pytest.mark.parametrize("spill_bytes", [1 << 30, 2000, 1])
@pytest.mark.parametrize("seed", range(3))
def test_any_choice_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spill_bytes: int, seed: int) -> None:
    monkeypatch.setattr(row_files, "SPILL_BYTES", spill_bytes)
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 60, size=8).tolist()
    files = files_of(tmp_path, sizes)
    order = draw.permutation(sum(sizes))[: draw.integers(1, sum(sizes) + 1)].astype(np.int64)
    write_dataset(files, order, NO_COLUMNS, tmp_path / "out", "a" * 16)
    assert said(tmp_path / "out") == order.tolist()
    assert not (tmp_path / "out" / ".spill").exists()


def test_large_data_becomes_several_files_of_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "SPILL_BYTES", 4000)
    monkeypatch.setattr(dataset_folder, "SHARD_BYTES", 4000)
    files = files_of(tmp_path, [400])
    order = np.arange(400, dtype=np.int64)
    write_dataset(files, order, NO_COLUMNS, tmp_path / "out", "a" * 16)
    shards = sorted(path.name for path in (tmp_path / "out").glob("*.arrow"))
    assert len(shards) > 2
    assert said(tmp_path / "out") == order.tolist()
    assert json.loads((tmp_path / "out" / "state.json").read_text())["_fingerprint"] == "a" * 16


def test_places_are_found_across_files(tmp_path: Path) -> None:
    files = files_of(tmp_path, [3, 5, 2])
    wanted = np.array([0, 2, 3, 7, 9])
    assert list(places(files, wanted)) == [(int(i), f"line {i}") for i in wanted]
    assert list(places(files, wanted[:0])) == []


def test_rows_return_as_they_were(tmp_path: Path) -> None:
    stage = Stage.model_validate(
        {
            "name": "grpo",
            "dataset": {"inline": {"rows": [{}]}},
            "grpo": {"rewards": [{"name": "short", "length": {"maxTokens": 1}}]},
        }
    )
    rows = [Prompt((message(Role.USER, "q"),), extra) for extra in ({"a": 1, "b": [1]}, {"b": {"c": None}}, {})]
    kinds = table.merged(table.kinds_of(rows[:1]), table.kinds_of(rows[1:]))
    finished = table.finished(table.to_table(rows, ["1", "2", "3"], stage), Columns(frozenset(), kinds))
    folder = dataset_folder.DatasetFolder(tmp_path)
    folder.write(finished)
    folder.finish("b" * 16)
    read = list(load_from_disk(str(tmp_path)))
    assert [row["a"] for row in read] == [1, None, None]
    assert [row["b"] for row in read] == [[1], {"c": None}, None]
    assert all(row["prompt"] == [{"role": "user", "content": "q"}] for row in read)


def test_many_inputs_go_to_processes_and_come_back_in_order(tmp_path: Path) -> None:
    """Every other input asks for the number of the process it is answered by."""
    drawn = 0

    def inputs() -> Iterator[str]:
        nonlocal drawn
        for number in range(60):
            drawn += 1
            (tmp_path / str(number)).symlink_to(f"answer {number}")
            yield "/proc/self" if number % 2 else str(tmp_path / str(number))

    results: list[str] = []
    for result in parallel.ordered_map(os.readlink, inputs(), 2):
        results.append(result)
        assert drawn <= len(results) + 5, "inputs are drawn only as results are taken"
    assert results[::2] == [f"answer {number}" for number in range(0, 60, 2)]
    processes = results[1::2]
    assert set(processes[: parallel.ALONE // 2]) == {str(os.getpid())}
    assert str(os.getpid()) not in processes[parallel.ALONE // 2 :]


def test_an_error_in_a_process_arrives() -> None:
    numbers = [*range(parallel.ALONE + 3), -1, *range(100)]
    with pytest.raises(ValueError, match="nonnegative"):
        list(parallel.ordered_map(math.isqrt, iter(numbers), 2))


@pytest.mark.parametrize(("quota", "processors"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", None)])
def test_processors_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, processors: int | None
) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(parallel, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert parallel.available_processors() == (processors or 8)
