"""What a failed attempt keeps in the workspace, and the lines of its output that status shows."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from alignment_api.contract import Summary
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method
from alignment_trainer.launch import evidence
from alignment_trainer.launch.bounded import done_within, within
from alignment_trainer.launch.last_words import last_words
from alignment_trainer.launch.masking import Mask

from .conftest import Workspace, stage_of

SECRET = "s3cr3t-model-name"
LAUNCHER = (
    "E1121 13:44:11.123000 77 torch/distributed/elastic/multiprocessing/api.py:986] failed (exitcode: 70) local_rank: "
    "0 (pid: 80) of binary: /opt/venv/bin/python3\n"
    "Traceback (most recent call last):\n"
    '  File "<frozen runpy>", line 198, in _run_module_as_main\n'
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:\n"
)


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ("", ""),
        ("step 1\n\nKeyError: 'x'\n", "step 1\nKeyError: 'x'"),
        (f"KeyError: 'x'\n{LAUNCHER}", "KeyError: 'x'"),
        ("W1121 13:44:11.1 7 torch/distributed/elastic/multiprocessing/api.py:900] Sending process 80\nok\n", "ok"),
        ("\x1b[31mred\x1b[0m\n 10%|#  |\r 20%|## |\n", "red\n 20%|## |"),
        (f"{'long ' * 300}\nlast\n", "last"),
        ("y" * 5000, "y" * 1024),
    ],
)
def test_last_words(tail: str, words: str) -> None:
    assert last_words(tail) == words


def test_the_ending_of_a_pod_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNMENT_POD_NAME", "job-sft-1-0-x7k2p")
    monkeypatch.setenv("ALIGNMENT_NODE_NAME", "node-9")
    summary = Summary(exit_code=137, message="a training process was killed by SIGKILL")
    evidence.keep(
        tmp_path / "evidence", 1, summary, "step 3\n", {"2": f"spin {SECRET}", "launcher": "x"}, Mask([SECRET])
    )
    ending = json.loads((tmp_path / "evidence/ending-1.json").read_text())
    assert (ending["pod"], ending["node"], ending["machineRank"]) == ("job-sft-1-0-x7k2p", "node-9", 1)
    assert (ending["exitCode"], ending["class"]) == (137, "ProcessKilled")
    assert (tmp_path / "evidence/output-1.txt").read_text() == "step 3\n"
    assert (tmp_path / "evidence/stacks-2.txt").read_text() == "spin ***"
    assert (tmp_path / "evidence/stacks-launcher-1.txt").exists()


def test_a_volume_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ending-0.json")  # nobody reads it: a write to it hangs
    summary = Summary(exit_code=ExitCode.STORAGE_ERROR)
    assert not done_within(0.5, lambda: evidence.keep(tmp_path, 0, summary, "", {}, Mask([])))


def test_work_in_time_is_not_lost_with_work_that_hangs() -> None:
    def hang() -> int:
        time.sleep(600)
        return 2

    began = time.monotonic()
    assert within(0.5, {"quick": lambda: 1, "hung": hang}) == {"quick": 1}
    assert time.monotonic() - began < 60


def test_a_failed_pod_leaves_evidence_and_no_secret(workspace: Workspace) -> None:
    stage = stage_of(Method.SFT)
    workspace.add_stage_data("sft", [{"prompt": "a", "completion": "b"}] * 8)
    job = workspace.write_job({"model": {"volume": {"path": f"models/{SECRET}"}}, "stages": [stage]})
    prepared = workspace.layout.prepared
    prepared.write_text(prepared.read_text().replace("models/tiny", f"models/{SECRET}"))
    pod = workspace.start(job, "sft", ALIGNMENT_SECRET_12AB=SECRET)
    summary = pod.wait()
    assert summary.exit_code not in (ExitCode.OK, ExitCode.PREEMPTED)
    assert "***" in summary.message
    assert "***" in summary.output
    kept = {path.name: path.read_text() for path in workspace.layout.stage("sft").attempt(1).evidence.iterdir()}
    assert set(kept) == {"ending-0.json", "output-0.txt"}
    assert "Traceback" in kept["output-0.txt"]
    said = [pod.output.read_text(), pod.termination_log.read_text(), *kept.values()]
    assert all(SECRET not in text for text in said)
