"""Datasets in an S3 store: what is read, what is kept, and what people are told when it cannot be."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from datasets import load_from_disk
from pydantic import ValidationError

from alignment_api.contract import JobLayout, JobReference, token_variable
from alignment_api.v1alpha1.dataset import DatasetSource
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer.data import sources
from alignment_trainer.exceptions import ConfigurationError, DataError, TrainerError, UnavailableError

from ..ports import free_port
from .conftest import Workspace
from .s3_server import ACCESS_KEY, REGION, SECRET_KEY, S3Server, running
from .test_prepare import TRAINING, run

ROWS = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(40)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
FIELD = "spec.stages[0].dataset"


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=8)
    return file.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running(tmp_path_factory.mktemp("s3")) as server:
        server.put("pairs/one/rows.jsonl", LINES)
        server.put("pairs/one/rows.jsonl.gz", gzip.compress(LINES))
        server.put("pairs/one/rows.parquet", parquet(ROWS))
        server.put("pairs/parts/b.parquet", parquet(ROWS[20:]))
        server.put("pairs/parts/a/1.parquet", parquet(ROWS[:20]))
        server.put("pairs/parts/_SUCCESS", b"")
        server.put("pairs/damaged/rows.parquet", b"PAR1 or not")
        server.put("pairs/damaged/rows.jsonl.gz", gzip.compress(LINES)[:-20])
        server.put("pairs/damaged/rows.jsonl.zst", b"no frame")
        server.put("pairs/damaged/rows.txt", b"hello")
        server.put("public/rows.jsonl", LINES)
        server.publish("public")
        yield server


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets as the operator hands them to Prepare."""
    for name, access, secret in (
        ("right", ACCESS_KEY, SECRET_KEY),
        ("wrong-key", "nobody", SECRET_KEY),
        ("wrong-secret", ACCESS_KEY, "guess"),
    ):
        for key, value in (("AWS_ACCESS_KEY_ID", access), ("AWS_SECRET_ACCESS_KEY", secret)):
            monkeypatch.setenv(token_variable(SecretKeyReference(name=name, key=key)), value)


def read(
    workspace: Path, server: S3Server, key: str, stream: bool = False, limit: int | None = None, **source: Any
) -> list[sources.SourceItem]:
    """The items of a dataset in the server's bucket `pairs`, unless the source says otherwise."""
    given = {"bucket": "pairs", "endpoint": server.endpoint, "region": REGION, "credentialsSecret": "right", **source}
    s3 = {"key": key, **{name: value for name, value in given.items() if value is not None}}
    layout = JobLayout(workspace, JobReference(namespace="n", name="j", uid="12345678"))
    return list(
        sources.read(DatasetSource.model_validate({"s3": s3}), layout, FIELD, stream=stream, limit=limit),
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("key", "third"),
    [
        ("one/rows.jsonl", "one/rows.jsonl line 3"),
        ("one/rows.jsonl.gz", "one/rows.jsonl.gz line 3"),
        ("one/rows.parquet", "one/rows.parquet row 3"),
        ("parts/", "parts/a/1.parquet row 3"),
    ],
)
def test_objects_and_prefixes(tmp_path: Path, server: S3Server, key: str, third: str, stream: bool) -> None:
    items = read(tmp_path, server, key, stream)
    assert [item.value for item in items] == ROWS
    assert items[2].where == f"s3://pairs/{third}"
    assert (tmp_path / "cache").exists() is not stream


def test_a_limit_ends_the_reading(tmp_path: Path, server: S3Server) -> None:
    assert [item.value for item in read(tmp_path, server, "parts/", True, 3)] == ROWS[:3]


def test_anybody_may_read_public_data(tmp_path: Path, server: S3Server) -> None:
    for key in ("rows.jsonl", "/"):
        items = read(tmp_path, server, key, bucket="public", credentialsSecret=None)
        assert [item.value for item in items] == ROWS


@pytest.mark.parametrize("key", ["a b.jsonl", "d%20e/\u00fc.jsonl", "q?x=1.jsonl", "plus+.jsonl"])
def test_keys_of_any_characters(tmp_path: Path, server: S3Server, key: str) -> None:
    server.put(f"pairs/keys/{key}", LINES)
    assert [item.value for item in read(tmp_path, server, f"keys/{key}")] == ROWS


@pytest.mark.parametrize("key", ["/rows.jsonl", "one//rows.jsonl", "one//", "//"])
def test_keys_with_empty_parts_are_no_keys(key: str) -> None:
    with pytest.raises(ValidationError, match=r"s3\.key"):
        DatasetSource.model_validate({"s3": {"bucket": "pairs", "key": key}})


def test_an_object_is_downloaded_once_until_it_changes(tmp_path: Path, server: S3Server) -> None:
    server.put("pairs/changing/rows.jsonl", b'{"a": 1}\n')
    assert [item.value for item in read(tmp_path, server, "changing/rows.jsonl")] == [{"a": 1}]
    (kept,) = (tmp_path / "cache/s3").rglob("*.jsonl")
    kept.write_text('{"a": "kept"}\n')  # to tell it from a second download
    assert [item.value for item in read(tmp_path, server, "changing/rows.jsonl")] == [{"a": "kept"}]
    server.put("pairs/changing/rows.jsonl", b'{"a": 2}\n')
    assert [item.value for item in read(tmp_path, server, "changing/rows.jsonl")] == [{"a": 2}]


def test_an_object_that_is_replaced_meanwhile_is_not_kept(
    tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy_and_replace(*arguments: Any) -> None:
        shutil.copyfileobj(*arguments)
        server.put("pairs/replaced/rows.jsonl", b'{"a": 2}\n')

    server.put("pairs/replaced/rows.jsonl", b'{"a": 1}\n')
    monkeypatch.setattr("alignment_trainer.data.sources.s3.shutil", SimpleNamespace(copyfileobj=copy_and_replace))
    with pytest.raises(UnavailableError, match="was replaced while it was downloaded"):
        read(tmp_path, server, "replaced/rows.jsonl")
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("source", "kind", "field", "message"),
    [
        ({"bucket": "nowhere"}, DataError, ".bucket", "has no bucket nowhere"),
        ({"bucket": "nowhere", "key": "parts/"}, DataError, ".bucket", "has no bucket nowhere"),
        ({"key": "one/none.jsonl"}, DataError, ".key", "no object s3://pairs/one/none.jsonl"),
        ({"key": "one"}, DataError, ".key", "write a / at its end"),
        ({"key": "none/"}, DataError, ".key", "no .jsonl, .json, .csv, .parquet, .arrow files"),
        ({"key": "one/"}, DataError, ".key", "several kinds (.jsonl, .parquet)"),
        ({"key": "damaged/rows.txt"}, DataError, ".key", "not a file of rows"),
        ({"key": "damaged/rows.parquet"}, DataError, ".key", "cannot be read"),
        ({"key": "damaged/rows.jsonl.gz"}, DataError, ".key", "cannot be read"),
        ({"key": "damaged/rows.jsonl.zst"}, DataError, ".key", "cannot be read"),
        ({"credentialsSecret": None}, ConfigurationError, "", "set credentialsSecret"),
        ({"credentialsSecret": "wrong-key"}, ConfigurationError, ".credentialsSecret", "in Secret wrong-key"),
        ({"credentialsSecret": "wrong-secret"}, ConfigurationError, ".credentialsSecret", "in Secret wrong-secret"),
        ({"credentialsSecret": "other"}, ConfigurationError, ".credentialsSecret", "no key AWS_ACCESS_KEY_ID"),
        ({"region": "us-west-2"}, ConfigurationError, ".region", "expects another region"),
        ({"endpoint": "http://127.0.0.1:1"}, UnavailableError, ".endpoint", "cannot be reached"),
        ({"endpoint": "https://store.example/path"}, DataError, ".endpoint", "remove the path"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_read_is_explained(
    tmp_path: Path,
    server: S3Server,
    source: dict[str, Any],
    kind: type[TrainerError],
    field: str,
    message: str,
    stream: bool,
) -> None:
    with pytest.raises(kind) as caught:
        read(tmp_path, server, stream=stream, **{"key": "one/rows.jsonl", **source})
    (problem,) = caught.value.problems
    assert problem.field == f"{FIELD}.s3{field}"
    assert message in problem.message
    assert not list((tmp_path / "cache").rglob(".*"))


def test_a_prefix_that_is_refused_is_explained_too(tmp_path: Path, server: S3Server) -> None:
    with pytest.raises(ConfigurationError, match="in Secret wrong-key"):
        read(tmp_path, server, "parts/", credentialsSecret="wrong-key")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        read(tmp_path, server, "parts/", endpoint=f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("stream", [False, True])
def test_a_job_is_prepared_from_objects(workspace: Workspace, server: S3Server, stream: bool) -> None:
    feedback = [
        {"q": {"text": row["prompt"]}, "completion": row["completion"], "thumb": i % 2} for i, row in enumerate(ROWS)
    ]
    server.put("pairs/feedback/rows.jsonl.gz", gzip.compress("".join(json.dumps(f) + "\n" for f in feedback).encode()))
    s3 = {"bucket": "pairs", "key": "feedback/", "endpoint": server.endpoint, "region": REGION}
    dataset = {
        "s3": s3 | {"credentialsSecret": "right"},
        "columns": {"prompt": "q.text", "label": "thumb"},
        "stream": stream,
        "maxSamples": 20,
    }
    run(workspace, [{"name": "kto", "dataset": dataset, "kto": {"loss": "apo_zero_unpaired"}, "training": TRAINING}])
    prepared = load_from_disk(str(workspace.layout.stage("kto").data / "train"))
    assert len(prepared) == 20
    for row in prepared:
        asked, answered = row["prompt"][0]["content"], row["completion"][0]["content"]
        number = int(asked.removeprefix("p"))
        assert (answered, row["label"]) == (f"c{number}", bool(number % 2))
        assert number < 20 or not stream
