"""An evaluate stage whose judge dies: a real gang ends, and the next attempt pays for what is missing alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alignment_api.contract import RunConfig, token_variable
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer import prepare

from ..ports import free_port
from . import tiny
from .conftest import JOB, Workspace
from .judge_endpoint import dying, serving

STAGE = "check"
KEY = "sk-canary-0123456789"
ANSWERED = 11


def spec_of(url: str) -> AlignmentJobSpec:
    llm = {"url": url, "model": "judge", "tokenSecretRef": {"name": "judge"}, "retries": 0, "concurrency": 2}
    evaluate: dict[str, Any] = {
        "candidate": {"volume": {"path": "models/other"}},
        "baseline": {"volume": {"path": "models/tiny"}},
        "generation": {"maxNewTokens": 8, "batchSize": 8, "temperature": 1.0},
        "judges": [{"name": "it", "llm": llm}],
        "gates": [{"metric": "winRate", "atLeast": 0.1}],
    }
    rows = [{"prompt": f"say {word}"} for word in tiny.WORDS]
    stage = {"name": STAGE, "dataset": {"inline": {"rows": rows}, "format": "prompts"}, "evaluate": evaluate}
    return AlignmentJobSpec.model_validate(
        {
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "runtime": {"processesPerNode": 2},
            "stages": [stage],
        }
    )


def test_an_endpoint_that_dies_ends_the_attempt_and_the_next_one_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(token_variable(SecretKeyReference(name="judge")), KEY)
    tiny.save_model(workspace.root / "models" / "other", seed=1)
    port, job = free_port(), workspace.root / "job.json"
    with serving(port) as server:
        server.key = KEY
        server.always = dying(server, after=ANSWERED)
        config = RunConfig(job=JOB, spec=spec_of(server.url))
        job.write_text(config.model_dump_json(by_alias=True))
        prepare.main(config, workspace.layout)
        ended = workspace.run(job, STAGE, attempt=1)
        assert server.log.paid == ANSWERED
    assert ended.exit_code == ExitCode.UNAVAILABLE, ended.message
    assert "gave no answer to 3 questions in a row" in ended.message
    assert [problem.field for problem in ended.problems] == ["spec.stages[0].evaluate.judges[0].llm.url"]

    with serving(port) as server:
        server.key = KEY
        finished = workspace.run(job, STAGE, attempt=2)
        assert finished.exit_code == ExitCode.OK, finished.message
        paid_later = server.log.paid
    report = workspace.layout.stage(STAGE).report
    lines = [json.loads(line) for line in (report / "responses.jsonl").read_text().splitlines()]
    texts = [{name: answer["text"] for name, answer in line["responses"].items()} for line in lines]
    differing = sum(text["candidate"] != text["baseline"] for text in texts)
    assert ANSWERED + paid_later == 2 * differing
    for text, line in zip(texts, lines, strict=True):
        longer = (len(text["candidate"]) > len(text["baseline"])) - (len(text["candidate"]) < len(text["baseline"]))
        assert line["judges"]["it"]["outcomes"]["candidate"] == (1 + longer) / 2
    assert finished.gates is not None
    assert finished.gates[0].samples == len(tiny.WORDS)
    files = [path for path in workspace.root.rglob("*") if path.is_file() and path.suffix != ".safetensors"]
    assert len(files) > 2 * differing
    assert [str(path) for path in files if KEY.encode() in path.read_bytes()] == []
