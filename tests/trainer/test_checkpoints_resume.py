"""A run that is preempted, killed and resumed ends like one that never stopped; and both like a plain TRL script."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import Summary
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method
from alignment_trainer.job_report.model import JobReport, State

from ..ports import free_port
from . import tiny
from .conftest import TRAINING, Pod, Workspace, stage_of, training_pids, workspace_in
from .method_runs import by_step
from .plain_run import run_plain
from .test_checkpoints import flip_a_bit

STEPS = 30
EVERY_STEPS = 6
STAGE = "dpo"
ONE_POD = {"processesPerNode": 2}
TWO_PODS = {"nodes": 2, "communication": {"interface": "lo"}}
TOLERANCE = 1e-6
"""Relative. A resumed run repeats the same operations in the same order; only the text in the history rounds."""

COMPARED = ["loss", "grad_norm", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "entropy"]


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("resume"), tiny_model) as workspace:
        yield workspace


def add_job(workspace: Workspace, name: str, runtime: dict[str, Any]) -> Path:
    """A DPO stage of all weights, on two processes with ZeRO-3, called ``name``."""
    workspace.add_stage_data(name, tiny.preference_rows(48))
    training = TRAINING | {"maxSteps": STEPS, "checkpoint": {"everySteps": EVERY_STEPS, "keep": 2}}
    stage = stage_of(Method.DPO, training=training) | {"name": name}
    return workspace.write_job({"runtime": runtime, "stages": [stage]})


@pytest.fixture(scope="module")
def uninterrupted(volume: Workspace) -> Summary:
    """The end of a run that nothing disturbed."""
    summary = volume.run(add_job(volume, STAGE, ONE_POD), STAGE)
    assert summary.exit_code == ExitCode.OK, summary.message
    return summary


def test_dpo_equals_a_plain_trl_script(volume: Workspace, uninterrupted: Summary, tmp_path: Path) -> None:
    options = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "seed": 42,
    }
    rows = volume.layout.stage(STAGE).data / "train"
    plain = by_step(run_plain(Method.DPO, volume.root / "models/tiny", rows, options, tmp_path))
    ours = by_step(volume.metrics(STAGE))
    assert sorted(plain) == sorted(ours) == list(range(1, STEPS + 1))
    for step, entry in ours.items():
        for name in COMPARED:
            assert entry[name] == pytest.approx(plain[step][name], rel=1e-5, abs=1e-6), (step, name)
    assert uninterrupted.progress is not None
    assert uninterrupted.progress.tokens == plain[STEPS]["num_tokens"]


def start_gang(volume: Workspace, job: Path, stage: str, attempt: int) -> list[Pod]:
    """Start an attempt on two Pods of one process each."""
    port = free_port()
    return [volume.start(job, stage, attempt=attempt, rank=rank, rendezvous=port) for rank in range(2)]


@pytest.mark.timeout(300)
def test_preempted_and_killed_run_ends_like_an_uninterrupted_one(volume: Workspace, uninterrupted: Summary) -> None:
    name = "interrupted"
    job = add_job(volume, name, TWO_PODS)

    first = start_gang(volume, job, name, attempt=1)
    volume.wait_for_step(name, 4)
    first[1].stop()
    preempted, told = (pod.wait(30) for pod in first)
    assert preempted.exit_code == told.exit_code == ExitCode.PREEMPTED, preempted.message
    assert preempted.checkpoint is not None
    assert 4 <= preempted.checkpoint.step < STEPS
    assert max(by_step(volume.metrics(name))) == preempted.checkpoint.step, "the checkpoint is of the last step"

    second = start_gang(volume, job, name, attempt=2)
    volume.wait_for_step(name, preempted.checkpoint.step + EVERY_STEPS + 1, attempt=2)  # one is saved before that
    os.kill(training_pids(second[1].process.pid)[0], signal.SIGKILL)
    killed_at = time.monotonic()
    survivor, killed = (pod.wait(30) for pod in second)
    assert time.monotonic() - killed_at < 15, "a dead rank ends every Pod in seconds"
    assert killed.exit_code == 128 + signal.SIGKILL
    assert "SIGKILL" in killed.message
    assert survivor.exit_code == ExitCode.COMMUNICATION_ERROR
    assert min(by_step(volume.metrics(name, attempt=2))) == preempted.checkpoint.step + 1

    saved = sorted(
        (int(marker.parent.name.removeprefix("checkpoint-")), marker.parent)
        for marker in volume.layout.stage(name).root.glob("attempts/*/checkpoints/checkpoint-*/complete.json")
    )
    (expected_step, _), (_, newest) = saved[-2:]
    flip_a_bit(next(newest.glob("global_step*/zero_pp_rank_1_*_optim_states.pt")))
    torn = volume.layout.stage(name).attempt(2).checkpoints / f"checkpoint-{STEPS - 1}"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"the writer was killed here")

    job = add_job(volume, name, ONE_POD)  # as many processes on fewer Pods
    last = volume.run(job, name, attempt=3, arguments=["--resume"])
    assert last.exit_code == ExitCode.OK, last.message
    resumed_at = min(by_step(volume.metrics(name, attempt=3))) - 1
    output = volume.pods[-1].output.read_text()
    assert resumed_at == expected_step, "the checkpoint before the one with a flipped bit"
    assert f"resuming from step {resumed_at}" in output
    assert f"skipping {newest}: " in output
    assert "is altered" in output

    expected = by_step(volume.metrics(STAGE))
    actual: dict[int, dict[str, Any]] = {}
    for attempt in (1, 2, 3):
        actual |= by_step(volume.metrics(name, attempt))
    assert sorted(actual) == sorted(expected)
    for step, entry in expected.items():
        for metric in COMPARED:
            assert actual[step][metric] == pytest.approx(entry[metric], rel=TOLERANCE, abs=1e-7), (step, metric)
    assert last.progress is not None
    assert uninterrupted.progress is not None
    assert last.progress.tokens == uninterrupted.progress.tokens

    (reported,) = JobReport.model_validate_json(volume.layout.report_numbers.read_bytes()).stages
    assert [each.state for each in reported.attempts] == [State.STOPPED, State.FAILED, State.SUCCEEDED]
    assert [each.resumed_from for each in reported.attempts] == [0, preempted.checkpoint.step, resumed_at]
    assert [each.nodes for each in reported.attempts] == [2, 2, 1]
    assert reported.attempts[1].reason == "ProcessKilled"
    assert reported.cost.lost_steps == max(by_step(volume.metrics(name, attempt=2))) - resumed_at
    loss = next(curve.series[0] for curve in reported.curves if curve.name == "loss")
    assert dict(loss.points) == {step: entry["loss"] for step, entry in actual.items()}

    # The last attempt could have been cut off after its last checkpoint: the next one only exports, with no step more.
    shutil.rmtree(volume.layout.stage(name).model)
    again = volume.run(job, name, attempt=4)
    assert again.exit_code == ExitCode.OK, again.message
    assert again.model is not None
    assert last.model is not None
    assert again.model.digest == last.model.digest
    assert again.progress is not None
    assert again.progress.step == STEPS
    assert not volume.layout.stage(name).attempt(4).metrics.exists(), "nothing was trained"
