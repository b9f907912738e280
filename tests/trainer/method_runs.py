"""Runs that the tests of every method share: a stage by the real command line, the same cut off and resumed, and the
same as a plain TRL script. What they must show is in `method_checks`.

Each of the runs starts two training processes, which costs seconds: keep a `StageRun` in a module-scoped fixture and
look at it from several tests.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import Summary
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method

from .conftest import TRAINING, Workspace, stage_of
from .plain_run import run_plain

TWO_PROCESSES: Final[dict[str, Any]] = {"processesPerNode": 2, "deepspeed": {"zeroStage": 3}}
ONE_PROCESS: Final[dict[str, Any]] = {"deepspeed": {"zeroStage": 0}}
LORA: Final[dict[str, Any]] = {"lora": {"rank": 4}}
STEPS: Final = 8
CHECKPOINT: Final = 4
"""A step in the middle, with a checkpoint to resume from."""

PLAIN_OPTIONS: Final[dict[str, Any]] = {
    "max_steps": STEPS,
    "per_device_train_batch_size": TRAINING["microBatchSize"],
    "learning_rate": TRAINING["learningRate"],
    "lr_scheduler_type": "constant",
    "gradient_checkpointing": False,
    "logging_steps": 1,
    "seed": 42,
}
"""What `conftest.TRAINING` says, in TRL's words."""


@dataclass(frozen=True)
class StageRun:
    """A stage that has run to its end.

    Attributes:
        workspace: where it ran.
        method: its method.
        name: its name.
        job: the job's configuration file.
        summary: how it ended.
        attempt: the attempt that ended it.
    """

    workspace: Workspace
    method: Method
    name: str
    job: Path
    summary: Summary
    attempt: int = 1

    @property
    def history(self) -> dict[int, dict[str, Any]]:
        """What the attempt reported, by step; evaluations are left out."""
        return by_step(self.workspace.metrics(self.name, self.attempt))

    @property
    def model(self) -> Path:
        """Folder of the exported model."""
        assert self.summary.model is not None
        return self.workspace.root / self.summary.model.path

    @property
    def resolved(self) -> dict[str, Any]:
        """The resolved configuration that was kept with the attempt."""
        text = self.workspace.layout.stage(self.name).attempt(self.attempt).resolved.read_text()
        content: dict[str, Any] = json.loads(text)
        return content

    @property
    def output(self) -> str:
        """What the Pod that was started last wrote."""
        return self.workspace.pods[-1].output.read_text()


def by_step(entries: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The training entries of a history, by step."""
    return {entry["step"]: entry for entry in entries if "loss" in entry}


def run_stage(
    workspace: Workspace,
    method: Method,
    rows: Sequence[dict[str, Any]],
    *,
    name: str | None = None,
    held_out: Sequence[dict[str, Any]] = (),
    runtime: Mapping[str, Any] = TWO_PROCESSES,
    training: Mapping[str, Any] | None = None,
    **fields: Any,
) -> StageRun:
    """Run a stage of `STEPS` steps, with a checkpoint at `CHECKPOINT`, to its end.

    Args:
        workspace: where.
        method: its method.
        rows: training rows, as Prepare leaves them.
        name: its name; the method's if not given.
        held_out: rows to evaluate on.
        runtime: the job's runtime.
        training: changes to the usual `training`.
        fields: the stage's other fields, such as ``adapter`` or ``dpo``.
    """
    name = name or method.value
    workspace.add_stage_data(name, list(rows), held_out=list(held_out))
    checkpoint = {"everySteps": CHECKPOINT, "keep": 4}
    steps = TRAINING | {"maxSteps": STEPS, "checkpoint": checkpoint} | dict(training or {})
    stage = stage_of(method, training=steps, **fields) | {"name": name}
    job = workspace.write_job({"runtime": dict(runtime), "stages": [stage]})
    workspace.keep_checkpoints(name, attempt=1)
    summary = workspace.run(job, name)
    assert summary.exit_code == ExitCode.OK, (summary.message, summary.problems)
    return StageRun(workspace, method, name, job, summary)


def cut_off_and_resume(run: StageRun, step: int = CHECKPOINT, arguments: Sequence[str] = ()) -> StageRun:
    """Bring the volume to where it was when ``step`` had been saved, and start the next attempt, as after a power cut.

    The model of ``run`` is moved to ``<its folder>-uninterrupted``, so that both can be compared.
    """
    own = run.workspace.layout.stage(run.name).attempt(run.attempt)
    kept = uninterrupted_model(run)
    run.model.rename(kept)
    for checkpoint in own.checkpoints.glob("checkpoint-*"):
        if int(checkpoint.name.removeprefix("checkpoint-")) > step:
            shutil.rmtree(checkpoint)
    attempt = run.attempt + 1
    summary = run.workspace.run(run.job, run.name, attempt=attempt, arguments=arguments)
    assert summary.exit_code == ExitCode.OK, (summary.message, summary.problems)
    assert f"resuming from step {step}" in run.output
    return replace(run, summary=summary, attempt=attempt)


def plain_history(
    run: StageRun, options: Mapping[str, Any], folder: Path, *, model: Path | None = None, **more: Any
) -> dict[int, dict[str, Any]]:
    """The history of a plain TRL script on the rows of ``run``, by step.

    Args:
        run: the stage.
        options: options of the method's TRL config, beside `PLAIN_OPTIONS`.
        folder: an empty folder for its files.
        model: the model to start from, if it is not the tiny one.
        more: ``lora``, ``reference`` and ``rewards`` of `plain_run.run_plain`.
    """
    return by_step(
        run_plain(
            run.method,
            model or run.workspace.root / "models/tiny",
            run.workspace.layout.stage(run.name).data / "train",
            PLAIN_OPTIONS | dict(options),
            folder,
            **more,
        )
    )


def uninterrupted_model(run: StageRun) -> Path:
    """Where `cut_off_and_resume` keeps the model of the uninterrupted run."""
    model = run.workspace.layout.stage(run.name).model
    return model.with_name(f"{model.name}-uninterrupted")
