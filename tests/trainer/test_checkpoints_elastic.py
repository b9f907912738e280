"""A gang of another size goes on where the last one stopped: same rows in the same steps, same weights, same losses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method
from alignment_trainer import checkpoints
from alignment_trainer.completion import list_files
from alignment_trainer.exceptions import CheckpointError

from ..ports import free_port
from . import tiny
from .conftest import TRAINING, Workspace, stage_of, workspace_in
from .method_runs import LORA, by_step, cut_off_and_resume, run_stage

STEPS = 12
CUTS = (4, 8)
"""Steps after which the gang changes: from two processes to one, and back."""

TOLERANCE = 1e-5
"""Relative. Sums over the same rows in another order: float32 rounds differently, and eight steps carry it on."""

ROWS = 18
"""Not a multiple of the global batch: an epoch's last step is filled up, on every gang with the same rows."""

COMPARED = {
    Method.SFT: ["loss", "grad_norm", "learning_rate", "entropy"],
    Method.DPO: ["loss", "grad_norm", "learning_rate", "rewards/margins", "logps/chosen"],
}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("elastic"), tiny_model) as workspace:
        yield workspace


def add_job(volume: Workspace, method: Method, name: str, zero_stage: int, **fields: Any) -> Path:
    rows = tiny.preference_rows(ROWS) if method is Method.DPO else tiny.conversation_rows(ROWS)
    volume.add_stage_data(name, rows)
    training = TRAINING | {
        "maxSteps": STEPS,
        "schedule": "cosine",
        "weightDecay": 0.1,
        "checkpoint": {"everySteps": CUTS[0], "keep": 9},
    }
    runtime = {"nodes": 2, "communication": {"interface": "lo"}, "deepspeed": {"zeroStage": zero_stage}}
    stage = stage_of(method, training=training, **fields) | {"name": name}
    return volume.write_job({"runtime": runtime, "stages": [stage]})


def run_gang(volume: Workspace, job: Path, name: str, attempt: int, nodes: int) -> str:
    """Run an attempt on ``nodes`` Pods of one process each; the output of rank 0."""
    port, arguments = free_port(), ["--nodes", str(nodes)] if nodes == 1 else []
    pods = [
        volume.start(job, name, attempt=attempt, rank=rank, rendezvous=port, arguments=arguments)
        for rank in range(nodes)
    ]
    for pod in pods:
        summary = pod.wait()
        assert summary.exit_code == ExitCode.OK, (summary.message, pod.output.read_text()[-4000:])
    return pods[0].output.read_text()


def cut_off(volume: Workspace, name: str, attempt: int, step: int) -> None:
    """Bring the volume to where it was when ``attempt`` had saved ``step`` and nothing more."""
    folders = volume.layout.stage(name)
    shutil.rmtree(folders.model)
    for checkpoint in folders.attempt(attempt).checkpoints.glob("checkpoint-*"):
        if int(checkpoint.name.removeprefix("checkpoint-")) > step:
            shutil.rmtree(checkpoint)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("method", "zero_stage", "fields"),
    [(Method.SFT, 3, {}), (Method.DPO, 2, {"adapter": LORA})],
    ids=["sft-zero3", "dpo-lora-zero2"],
)
def test_a_gang_shrinks_and_grows(volume: Workspace, method: Method, zero_stage: int, fields: dict[str, Any]) -> None:
    name = f"{method.value}-{zero_stage}"
    job = add_job(volume, method, name, zero_stage, **fields)
    volume.keep_checkpoints(name, attempt=1)
    run_gang(volume, job, name, attempt=1, nodes=2)
    expected = by_step(volume.metrics(name))
    actual: dict[int, dict[str, Any]] = {}
    for attempt, (step, nodes) in enumerate(zip(CUTS, (1, 2), strict=True), start=2):
        cut_off(volume, name, attempt - 1, step)
        if step != CUTS[-1]:
            volume.keep_checkpoints(name, attempt)
        output = run_gang(volume, job, name, attempt, nodes)
        assert f"resuming from step {step}" in output
        assert not volume.layout.stage(name).attempt(attempt).resharded.exists(), "removed once it is loaded"
        steps = by_step(volume.metrics(name, attempt))
        assert sorted(steps) == list(range(step + 1, STEPS + 1))
        actual |= steps
    for step, entry in actual.items():
        for metric in COMPARED[method]:
            assert entry[metric] == pytest.approx(expected[step][metric], rel=TOLERANCE, abs=1e-6), (step, metric)


def test_a_smaller_micro_batch_changes_nothing_else(volume: Workspace) -> None:
    name = "memory"
    whole = run_stage(volume, Method.SFT, tiny.conversation_rows(ROWS), name=name)
    halved = cut_off_and_resume(whole, arguments=["--micro-batch-size", "1", "--resume"])
    for step, entry in halved.history.items():
        for metric in ("loss", "grad_norm", "learning_rate"):
            assert entry[metric] == pytest.approx(whole.history[step][metric], rel=TOLERANCE), (step, metric)
    options, before = halved.resolved["options"], whole.resolved["options"]
    assert options["per_device_train_batch_size"] == {"value": 1, "by": "attempt"}
    assert options["gradient_accumulation_steps"] == {"value": 2, "by": "attempt"}
    assert before["per_device_train_batch_size"] == {"value": 2, "by": "training.microBatchSize"}
    assert before["gradient_accumulation_steps"]["value"] == 1
    assert halved.resolved["gang"]["nodes"] == {"value": 1, "by": "runtime.nodes"}


def test_a_checkpoint_that_cannot_be_converted(tmp_path: Path) -> None:
    from accelerate import PartialState

    from alignment_trainer import universal

    folder = tmp_path / "checkpoint-4"
    (folder / "global_step4").mkdir(parents=True)
    (folder / "global_step4" / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"not a tensor")
    checkpoint = checkpoints.complete(folder, list_files(folder), step=4, tokens=0, processes=3)
    with pytest.raises(CheckpointError, match=r"written by 3 processes and cannot be converted for 1: [^.]") as caught:
        universal.reshard(checkpoint, tmp_path / "resharded", PartialState(cpu=True))
    assert "for a gang of its own size" in str(caught.value)
    assert list_files(folder) == checkpoint.marker.files, "it stays as it was"
