"""The report: numbers in `data.json`, and a page that shows them to people and can harm nobody."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_trainer.data import lengths
from alignment_trainer.data.dropped import DroppedRows
from alignment_trainer.data.report_page import page

from . import tiny
from .data_runs import DataRun, pairs

HOSTILE = "<script src='https://example.com/x.js'>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> DataRun:
    """Preference data with one of everything that a report tells."""
    root = tmp_path_factory.mktemp("workspace")
    run = DataRun(root, tiny.save_tokenizer(root / "tokenizer"))
    rows = pairs(40)
    rows[3]["chosen"] = HOSTILE
    rows[4] = {"prompt": "q", "chosen": "", "rejected": HOSTILE}
    rows[5] = {HOSTILE: 1, "prompt": "q", "rejected": "a"}
    rows[6] = dict(rows[7])
    rows[8]["chosen"] = "red " * 300
    quality = {"maxInvalidFraction": 0.1, "duplicates": "drop"}
    data = run.write(rows) | {"quality": quality, "evalFraction": 0.2}
    run.prepare(data, maxLength=128)
    return run


class Page(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "rect"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_numbers(run: DataRun) -> None:
    report = run.report()
    assert (report["rows"], report["invalidRows"], report["validRows"], report["usedRows"]) == (40, 2, 38, 37)
    assert report["trainRows"] + report["evalRows"] == 37
    assert (report["stage"], report["method"], report["format"]) == ("stage", "dpo", "preference")
    assert report["droppedRows"] == report["duplicateRows"] == 1
    assert {each["reason"]: each["examples"] for each in report["dropped"]} == {
        "column chosen: is empty": ["rows.jsonl line 5"],
        f"column chosen: missing; the columns of this row are: {HOSTILE}, prompt, rejected": ["rows.jsonl line 6"],
        "repeats an earlier row": ["rows.jsonl line 8"],
    }
    (longer,) = [limit for limit in report["limits"] if limit["field"] == "maxTruncatedFraction"]
    assert (longer["rows"], longer["of"], longer["examples"]) == (1, 38, ["rows.jsonl line 9"])
    assert sum(each["rows"] for each in report["rowTokens"]["histogram"]) == report["trainRows"]
    assert report["maxLength"]["longerRows"] in {0, 1}, "the long row may be held out"
    sides = report["responses"]
    assert sides["chosenLonger"] + sides["equallyLong"] + sides["rejectedLonger"] == report["trainRows"]
    assert len(report["samples"]) == 5
    assert set(report["samples"][0]["columns"]) == {"prompt", "chosen", "rejected"}


def test_the_page_stands_alone_and_every_text_is_text(run: DataRun) -> None:
    report = run.report()
    report["samples"][0]["columns"]["chosen"][0]["content"] = HOSTILE
    report["source"] = HOSTILE
    text = page(report)
    found = Page(text)
    assert {"script", "img", "link", "iframe", "object"}.isdisjoint(found.tags)
    assert not any(name.startswith("on") or name in {"src", "href", "srcset"} for name, _ in found.attributes)
    assert "url(" not in text
    assert "@import" not in text
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes
    assert found.text.count(HOSTILE) >= 3, "source, reason and sample, letter by letter"


def test_the_page_shows_the_numbers(run: DataRun) -> None:
    found = Page((run.folders.report / "data.html").read_text())
    for part in ("Data of stage stage", "rows.jsonl line 5", "repeats an earlier row", "maxDuplicateFraction", "128"):
        assert part in found.text
    assert found.tags.count("rect") == len(run.report()["rowTokens"]["histogram"])


@pytest.mark.parametrize("absent", ["responses", "maxLength", "nearIdenticalRows", "dropped", "rowTokens"])
def test_the_page_does_without_what_does_not_apply(run: DataRun, absent: str) -> None:
    report = copy.deepcopy(run.report())
    empty: dict[str, Any] = {"dropped": [], "rowTokens": {}}
    report.pop(absent)
    if absent in empty:
        report[absent] = empty[absent]
    Page(page(report))


@pytest.mark.parametrize("method", ["sft", "kto", "grpo"])
def test_every_kind_of_rows_has_a_page(run: DataRun, method: str) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": f"q {i}", "completion": f"a {i}", "label": i % 2 == 0, "tests": [{"in": HOSTILE}]} for i in range(6)
    ]
    own = DataRun(run.root, run.tokenizer, method)
    options = {"rewards": [{"name": "short", "length": {"maxTokens": 3}}]} if method == "grpo" else {}
    data = own.write(rows, f"{method}.jsonl") | ({"format": "prompts"} if method == "grpo" else {})
    if method == "sft":
        data = own.write([{"prompt": row["prompt"], "completion": "a"} for row in rows], "sft.jsonl")
    own.prepare(data, method, **options)
    found = Page((own.folders.report / "data.html").read_text())
    assert ("Labels" in found.text) == (method == "kto")


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=300), st.integers(2, 40))
def test_a_histogram_counts_every_row_once(values: list[int], bins: int) -> None:
    ranges = lengths.histogram(np.array(values), bins)
    assert len(ranges) <= bins
    assert sum(each["rows"] for each in ranges) == len(values)
    for each in ranges:
        assert each["rows"] == sum(each["from"] <= value < each["to"] for value in values)
    assert [each["from"] for each in ranges[1:]] == [each["to"] for each in ranges[:-1]]


def test_percentiles_are_nearest_ranks() -> None:
    assert lengths.percentiles(np.arange(1, 101)) == {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    assert lengths.percentiles(np.array([7])) == {"p50": 7, "p95": 7, "p99": 7, "max": 7}
    assert lengths.percentiles(np.array([], dtype=np.int64)) == {}


def test_endless_reasons_are_summed_up(tmp_path: Path) -> None:
    with DroppedRows(tmp_path / "dropped.jsonl") as dropped:
        for number in range(1000):
            dropped.add(f"row {number}", [f"reason {number}"])
    summary = dropped.summary()
    assert len(summary) <= 201
    assert summary[0]["reason"] == "other reasons"
    assert sum(int(str(each["rows"])) for each in summary) == 1000
    assert len(re.findall("\n", (tmp_path / "dropped.jsonl").read_text())) == 1000


def test_the_record_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "dropped.jsonl"
    path.write_text("old\n")
    with DroppedRows(path):
        pass
    assert not path.exists()
