"""What an evaluation keeps: read back by later attempts, never taken for something else, torn lines passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_trainer.evaluation.gang import Gang, Kept
from alignment_trainer.evaluation.responses import packed, unpacked
from alignment_trainer.evaluation.store import Batch, Part
from alignment_trainer.reporter import Reporter

ITEMS = [f"item {number}" for number in range(7)]


def gang(folder: Path | None, attempt: int = 1) -> Gang:
    return Gang(PartialState(cpu=True), Reporter(None, "check", attempt), folder=folder, attempt=attempt)


class Work:
    """Counts the items it is given."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.batches: list[tuple[int, list[str]]] = []
        self._fail_at = fail_at

    def __call__(self, number: int, items: Any) -> list[list[Any]]:
        if len(self.batches) == self._fail_at:
            raise RuntimeError("cut off")
        self.batches.append((number, list(items)))
        return [[item, len(item) / 3] for item in items]


def test_another_attempt_does_only_the_rest(tmp_path: Path) -> None:
    kept = Kept("responses-a", {"model": "x"})
    first = Work(fail_at=2)
    with pytest.raises(RuntimeError, match="cut off"):
        gang(tmp_path).share(ITEMS, 2, first, kept=kept)
    second = Work()
    resumed = gang(tmp_path, 2)
    found = resumed.share(ITEMS, 2, second, kept=kept)
    assert [number for number, _ in first.batches] == [0, 1]
    assert [number for number, _ in second.batches] == [2, 3]
    assert found == gang(None).share(ITEMS, 2, Work())
    assert (resumed.reporter.progress.step, resumed.reporter.progress.total_steps) == (7, 7)
    third = Work()
    assert gang(tmp_path, 3).share(ITEMS, 2, third, kept=kept) == found
    assert third.batches == []


@pytest.mark.parametrize(
    ("items", "batch_size", "kept"),
    [
        (ITEMS, 2, Kept("responses-a", {"model": "y"})),
        (ITEMS, 2, Kept("responses-b", {"model": "x"})),
        (ITEMS, 3, Kept("responses-a", {"model": "x"})),
        ([*ITEMS[:-1], "another"], 2, Kept("responses-a", {"model": "x"})),
        (ITEMS[::-1], 2, Kept("responses-a", {"model": "x"})),
    ],
)
def test_what_was_decided_otherwise_is_not_taken(tmp_path: Path, items: list[str], batch_size: int, kept: Kept) -> None:
    gang(tmp_path).share(ITEMS, 2, Work(), kept=Kept("responses-a", {"model": "x"}))
    work = Work()
    gang(tmp_path, 2).share(items, batch_size, work, kept=kept)
    assert sum(len(batch) for _, batch in work.batches) == 7


@pytest.mark.parametrize(
    "torn",
    [
        '{"batch": 1, "seconds": 0.1, "resul',
        '{"batch": 1, "seconds": 0.1}\n',
        '{"batch": 1, "seconds": 0.1, "results": 3}\n',
        '{"batch": 1, "seconds": 0.1, "results": [1]}\n',  # of another number of items
        "\0\0\0\0\n",
        "[1, 2]\n",
        '{"batch": 99, "seconds": 0.1, "results": []}\n',
    ],
)
def test_torn_lines_are_computed_again(tmp_path: Path, torn: str) -> None:
    kept = Kept("part", {})
    whole = gang(tmp_path).share(ITEMS, 2, Work(), kept=kept)
    (file,) = tmp_path.glob("part-*/1-0.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + torn)
    work = Work()
    assert gang(tmp_path, 2).share(ITEMS, 2, work, kept=kept) == whole
    assert [number for number, _ in work.batches] == [1, 2, 3]


def test_batches_are_of_items_of_like_size_the_longest_first() -> None:
    work = Work()
    items = ["aa", "a", "aaaa", "aaa"]
    found = gang(None).share(items, 2, work, size=len)
    assert work.batches == [(0, ["aaaa", "aaa"]), (1, ["aa", "a"])]
    assert [result[0] for result in found] == items


def test_what_rank_0_does_alone_counts_too() -> None:
    own = gang(None)
    own.expect(10)

    def work(advance: Any) -> str:
        advance(2)
        advance(3)
        return "done"

    assert own.alone(work, 5) == "done"
    assert (own.reporter.progress.step, own.reporter.progress.total_steps) == (5, 10)
    with pytest.raises(StopIteration):
        own.alone(lambda _: next(iter(())))


@settings(max_examples=50)
@given(results=st.lists(st.floats() | st.text() | st.none(), max_size=5), seconds=st.floats(0, 1e6))
def test_batches_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, results: list[Any], seconds: float
) -> None:
    part = Part(tmp_path_factory.mktemp("store"), "part", {}, [])
    part.append("1-0", 0, Batch(results, seconds))
    part.close()
    assert json.dumps(part.read()[0].results) == json.dumps(results)


@given(st.lists(st.integers(0, 2**31 - 1)))
def test_token_ids_come_back(ids: list[int]) -> None:
    assert unpacked(packed(ids)) == ids
