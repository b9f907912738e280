"""Files of rows: where each row is found, and what is said about files that hold none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import JobLayout, JobReference
from alignment_api.v1alpha1 import Dataset
from alignment_trainer.data import sources
from alignment_trainer.exceptions import DataError

ROWS = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d, e"}]


def read(workspace: Path, dataset: dict[str, Any]) -> list[sources.SourceItem]:
    layout = JobLayout(workspace, JobReference(namespace="n", name="j", uid="12345678"))
    return list(sources.read(Dataset.model_validate(dataset), layout, "spec.stages[0].dataset"))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".json":
            path.write_text(json.dumps(rows, indent=1))
        case ".csv":
            path.write_text("prompt,completion\n" + "".join(f'{r["prompt"]},"{r["completion"]}"\n' for r in rows))
        case ".parquet":
            import datasets

            datasets.Dataset.from_list(rows).to_parquet(str(path))


@pytest.mark.parametrize(
    ("suffix", "second"), [(".jsonl", "line 2"), (".json", "row 2"), (".csv", "line 3"), (".parquet", "row 2")]
)
def test_every_kind_of_file(tmp_path: Path, suffix: str, second: str) -> None:
    write(tmp_path / f"data/rows{suffix}", ROWS)
    items = read(tmp_path, {"volume": {"path": f"data/rows{suffix}"}})
    assert [item.value for item in items] == ROWS
    assert items[1].where == f"data/rows{suffix} {second}"
    in_folder = read(tmp_path, {"volume": {"path": "data"}})
    assert in_folder == items


def test_a_bad_line_is_named_and_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n\n{"prompt": \n[1]\n{"prompt": 7}\n')
    items = read(tmp_path, {"volume": {"path": "rows.jsonl"}})
    assert [item.where for item in items] == [f"rows.jsonl line {n}" for n in (1, 3, 4, 5)]
    assert [item.value for item in items] == [{"prompt": "a"}, None, None, {"prompt": 7}]
    assert "is not JSON" in items[1].error
    assert "must be a JSON object" in items[2].error


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (r'{"prompt": "half a smile: \ud83d"}', "half of a character"),
        ('{"prompt": "\udcff"}', "is not UTF-8"),
        ('{"prompt": ' + "9" * 5000 + "}", "is not JSON"),
        ('{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}", "is not JSON"),
    ],
)
def test_a_hostile_line_is_only_a_bad_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line + '\n{"prompt": "a"}\n', errors="surrogateescape")
    bad, good = read(tmp_path, {"volume": {"path": "rows.jsonl"}})
    assert bad.value is None
    assert message in bad.error
    assert good.value == {"prompt": "a"}


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({}, "data", "does not exist in the workspace volume"),
        ({"data/readme.md": b"hello"}, "data", "no .jsonl"),
        ({"data/a.csv": b"x\n1\n", "data/b.json": b"[]"}, "data", "several kinds (.csv, .json)"),
        ({"rows.txt": b"hello"}, "rows.txt", "must end in .jsonl, .json, .csv, .parquet"),
        ({"rows.parquet": b"PAR1 or not"}, "rows.parquet", "cannot be read"),
        ({"rows.json": b'[{"a": 1},'}, "rows.json", "cannot be read"),
        ({"rows.csv": b'a\n"open\n'}, "rows.csv", "cannot be read"),
    ],
)
def test_what_is_no_data_is_refused_with_its_field(
    tmp_path: Path, files: dict[str, bytes], path: str, message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"volume": {"path": path}})
    (problem,) = caught.value.problems
    assert problem.field == "spec.stages[0].dataset.volume.path"
    assert message in problem.message


def test_config_maps_lie_below_their_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.config_map, "CONFIG_MAPS_MOUNT", tmp_path)
    write(tmp_path / "pairs/rows.jsonl", ROWS)
    items = read(tmp_path, {"configMap": {"name": "pairs", "key": "rows.jsonl"}})
    assert [item.where for item in items] == ["pairs/rows.jsonl line 1", "pairs/rows.jsonl line 2"]
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"configMap": {"name": "pairs", "key": "other.jsonl"}})
    assert "ConfigMap pairs has no key other.jsonl" in str(caught.value)
