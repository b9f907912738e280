"""Data is prepared once for all stages and jobs that need the same, and a broken entry is never used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import token_variable
from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer.data.identity import tokenizer_digest

from . import tiny
from .data_runs import DataRun, pairs
from .s3_server import ACCESS_KEY, REGION, SECRET_KEY, S3Server, running


class Counting:
    """A tokenizer that counts the texts it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.texts = 0

    def __call__(self, texts: list[str], **options: Any) -> Any:
        self.texts += len(texts)
        return self._tokenizer(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny.save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def first(tmp_path: Path, tokenizer: Any) -> DataRun:
    return DataRun(tmp_path, Counting(tokenizer), "first")


def second_of(first: DataRun) -> DataRun:
    """Another job in the same workspace."""
    return DataRun(first.root, Counting(first.tokenizer), "second")


def entries(run: DataRun) -> list[Path]:
    return [path for path in run.layout.prepared_cache.iterdir() if not path.name.startswith(".")]


def test_a_second_job_with_the_same_data_prepares_nothing(first: DataRun) -> None:
    rows = [*pairs(10), {"prompt": "q", "chosen": "", "rejected": "r"}]
    data = first.write(rows) | {"evalFraction": 0.3, "quality": {"maxInvalidFraction": 0.5}}
    status = first.prepare(data)
    assert status.cached is None
    assert first.tokenizer.texts > 0
    second = second_of(first)
    found = second.prepare(data)
    assert second.tokenizer.texts == 0
    assert found.cached is True
    assert found.model_copy(update={"cached": None, "report": status.report}) == status
    assert list(second.rows()) == list(first.rows())
    assert second.dropped() == first.dropped() != {}
    assert second.report()["cached"] is True
    assert "prepared before" in (second.folders.report / "data.html").read_text()
    file = "train/data-00000.arrow"
    assert (second.folders.data / file).samefile(first.folders.data / file), "no copy is made"


def test_stages_of_methods_that_need_the_same_share_it(first: DataRun) -> None:
    data = first.write(pairs(10))
    first.prepare(data, "dpo")
    second = second_of(first)
    assert second.prepare(data, "orpo").cached
    assert second.report()["method"] == "orpo"
    assert not DataRun(first.root, first.tokenizer, "labels").prepare(data, "kto").cached


@pytest.mark.parametrize("change", ["content", "format", "seed", "limit", "template"])
def test_whatever_decides_the_rows_is_in_the_key(first: DataRun, change: str) -> None:
    data = first.write(pairs(10))
    first.prepare(data)
    second = second_of(first)
    options: dict[str, Any] = {}
    match change:
        case "content":
            data = second.write(pairs(11))
        case "format":
            data = data | {"format": "preference"}
        case "seed":
            data = data | {"seed": 1}
        case "limit":
            options = {"maxLength": 64}
        case "template":
            path = first.root / "other"
            other = tiny.save_tokenizer(path)
            other.chat_template = other.chat_template.replace("<|end|>", "<|end|>\n")
            second.tokenizer = Counting(other)
    assert not second.prepare(data, **options).cached
    assert second.tokenizer.texts > 0
    assert len(entries(first)) == 2


def test_the_digest_of_a_tokenizer_is_of_its_content(tmp_path: Path, tokenizer: Any) -> None:
    from transformers import PreTrainedTokenizerFast

    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        tokenizer.save_pretrained(folder)
    here, there = (tokenizer_digest(PreTrainedTokenizerFast.from_pretrained(str(folder))) for folder in folders)
    assert here == there


@pytest.mark.parametrize("damage", ["shorter", "missing", "no marker"])
def test_a_torn_entry_is_replaced(first: DataRun, damage: str) -> None:
    data = first.write(pairs(10))
    first.prepare(data)
    (entry,) = entries(first)
    file = entry / "train" / "data-00000.arrow"
    whole = file.read_bytes()
    file.unlink()  # and with it the link to the first job's data, which stays as it is
    match damage:
        case "shorter":
            file.write_bytes(whole[:-100])
        case "no marker":
            file.write_bytes(whole)
            (entry / "complete.json").unlink()
    second = second_of(first)
    assert not second.prepare(data).cached
    assert list(second.rows()) == list(first.rows())
    assert DataRun(first.root, second.tokenizer, "third").prepare(data).cached


def test_a_restart_of_the_same_job_finds_its_own_data(first: DataRun) -> None:
    data = first.write(pairs(10))
    status = first.prepare(data)
    shutil.rmtree(first.layout.prepared_cache)
    before = first.tokenizer.texts
    assert first.prepare(data) == status
    assert first.tokenizer.texts == before


def test_data_that_changes_while_it_is_read_is_not_kept(first: DataRun) -> None:
    data = first.write(pairs(10))
    ordinary = first.tokenizer

    class Meddling(Counting):
        def __call__(self, texts: list[str], **options: Any) -> Any:
            first.write(pairs(12))
            return super().__call__(texts, **options)

    first.tokenizer = Meddling(ordinary)
    assert first.prepare(data).train_rows == 10
    assert not entries(first)


def test_killed_halfway_it_leaves_nothing_that_can_be_seen(first: DataRun) -> None:
    """A process of its own is killed once it has begun to write rows."""
    data = first.write(pairs(30_000))
    stage = Stage.model_validate({"name": "stage", "dataset": data, "dpo": {}})
    (first.root / "stage.json").write_text(stage.model_dump_json(by_alias=True, exclude_none=True))
    first.tokenizer.save_pretrained(first.root / "tokenizer")
    process = subprocess.Popen([sys.executable, "-c", _PREPARE, str(first.root)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(first.layout.prepared_cache.glob(".*.building/rows/0-*.arrow")):
        assert process.poll() is None, "it must not end by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    assert not entries(first)
    assert not first.folders.data.exists()
    assert first.prepare(first.write(pairs(50))).train_rows == 50
    assert not list(first.layout.prepared_cache.glob(".*")), "what the killed one left is gone"


_PREPARE = """
import sys
from pathlib import Path
from alignment_api.contract import JobLayout, JobReference
from alignment_api.v1alpha1 import Stage
from alignment_trainer.data.stage import prepare_stage
from transformers import PreTrainedTokenizerFast
root = Path(sys.argv[1])
stage = Stage.model_validate_json((root / "stage.json").read_text())
tokenizer = PreTrainedTokenizerFast.from_pretrained(str(root / "tokenizer"))
prepare_stage(stage, tokenizer, JobLayout(root, JobReference(namespace="team", name="job", uid="first")), "stage")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running(tmp_path_factory.mktemp("s3")) as server:
        yield server


def test_objects_are_known_by_their_tags(first: DataRun, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in (("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)):
        monkeypatch.setenv(token_variable(SecretKeyReference(name="store", key=key)), value)
    source = {"bucket": "pairs", "key": "rows.jsonl", "region": REGION, "credentialsSecret": "store"}
    data = {"s3": source | {"endpoint": server.endpoint}}
    first.write(pairs(5))
    server.put("pairs/rows.jsonl", (first.root / "rows.jsonl").read_bytes())
    assert not first.prepare(data).cached
    assert second_of(first).prepare(data).cached
    first.write(pairs(6))
    server.put("pairs/rows.jsonl", (first.root / "rows.jsonl").read_bytes())
    changed = DataRun(first.root, first.tokenizer, "third").prepare(data)
    assert (changed.cached, changed.train_rows) == (None, 6)
