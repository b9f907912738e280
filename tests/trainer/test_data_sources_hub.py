"""Datasets on a hub, downloaded and streamed by the real client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .hub_server import running

ROWS = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(30)]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


REPOSITORIES = {
    "team/pairs": {f"data/train-{i}.jsonl": lines(ROWS[10 * i : 10 * i + 10]) for i in range(3)},
    "team/broken": {"train.jsonl": lines(ROWS[:3]) + b'{"prompt": \n' + lines(ROWS[3:])},
}

READ = """
import json, sys
from pathlib import Path
from alignment_api.contract import JobLayout, JobReference
from alignment_api.v1alpha1.dataset import DatasetSource
from alignment_trainer.data import sources
from alignment_trainer.exceptions import TrainerError

layout = JobLayout(Path(sys.argv[1]), JobReference(namespace="n", name="j", uid="12345678"))
for asked in json.loads(sys.argv[2]):
    source = DatasetSource.model_validate({"huggingFace": asked["source"]})
    try:
        items = list(sources.read(source, layout, "spec", stream=asked["stream"], limit=asked.get("limit")))
        print(json.dumps({"rows": [item.value for item in items], "last": items[-1].where}))
    except TrainerError as error:
        found = [[problem.field, problem.message] for problem in error.problems]
        print(json.dumps({"kind": type(error).__name__, "problems": found}))
"""


def read(workspace: Path, endpoint: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What sources.read says to each question, in a process of its own: the client takes its hub from there."""
    process = subprocess.run(
        [sys.executable, "-c", READ, workspace, json.dumps(asked)],
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(workspace / "home")},
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    return [json.loads(line) for line in process.stdout.splitlines()]


def test_streams_read_what_is_needed_and_downloads_all(tmp_path: Path) -> None:
    pairs = {"name": "team/pairs"}
    with running(REPOSITORIES) as hub:
        asked = [{"source": pairs, "stream": True, "limit": 3}, {"source": pairs, "stream": True}]
        few, streamed = read(tmp_path / "streamed", hub.address, asked)
        first = hub.read.index("team/pairs/data/train-1.jsonl")
        assert set(hub.read[:first]) == {"team/pairs/data/train-0.jsonl"}
        (downloaded,) = read(tmp_path / "downloaded", hub.address, [{"source": pairs, "stream": False}])
    assert few == {"rows": ROWS[:3], "last": "row 3"}
    assert streamed == downloaded == {"rows": ROWS, "last": "row 30"}
    assert not list((tmp_path / "streamed").rglob("*.arrow"))
    assert list((tmp_path / "downloaded/cache").rglob("*.arrow"))


def test_what_a_hub_does_not_have_is_explained(tmp_path: Path) -> None:
    cases = [
        ({"name": "team/none"}, "ConfigurationError", "dataset team/none: there is no such repository"),
        ({"name": "team/pairs", "split": "test"}, "DataError", "dataset team/pairs: "),
        ({"name": "team/broken"}, "DataError", "dataset team/broken: "),
    ]
    asked = [{"source": source, "stream": stream} for source, _, _ in cases for stream in (False, True)]
    with running(REPOSITORIES) as hub:
        answers = read(tmp_path, hub.address, asked)
    for answer, (_, kind, message) in zip(answers, [case for case in cases for _ in range(2)], strict=True):
        assert answer["kind"] == kind
        ((field, text),) = answer["problems"]
        assert field == "spec.huggingFace"
        assert text.startswith(message)
