"""What every method must show, as functions its tests share: a run of its stage by the real command line, the same run
cut off and resumed, the same as a plain TRL script, and a model that transformers loads.

Each of the runs starts two training processes, which costs seconds: keep a `StageRun` in a module-scoped fixture and
look at it from several tests.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from alignment_api.contract import Summary, TrainerPhase
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

RESUMED: Final = 1e-6
"""Relative tolerance of a resumed run: the same operations in the same order; only the text in the history rounds."""

PLAIN: Final = 1e-5
"""Relative tolerance to plain TRL: DeepSpeed may add up gradients in another order."""

_NOT_COMPARED: Final = frozenset({"time", "epoch", "step", "num_tokens", "step_time"})


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
    summary = workspace.run(job, name)
    assert summary.exit_code == ExitCode.OK, (summary.message, summary.problems)
    return StageRun(workspace, method, name, job, summary)


def cut_off_and_resume(run: StageRun, step: int = CHECKPOINT) -> StageRun:
    """Bring the volume to where it was when ``step`` had been saved, and start the next attempt, as after a power cut.

    The model of ``run`` is moved to ``<its folder>-uninterrupted``, so that both can be compared.
    """
    own = run.workspace.layout.stage(run.name).attempt(run.attempt)
    kept = _uninterrupted(run)
    run.model.rename(kept)
    for checkpoint in own.checkpoints.glob("checkpoint-*"):
        if int(checkpoint.name.removeprefix("checkpoint-")) > step:
            shutil.rmtree(checkpoint)
    attempt = run.attempt + 1
    summary = run.workspace.run(run.job, run.name, attempt=attempt)
    assert summary.exit_code == ExitCode.OK, (summary.message, summary.problems)
    assert f"resuming from step {step}" in run.output
    return replace(run, summary=summary, attempt=attempt)


def check_resumed(uninterrupted: StageRun, resumed: StageRun, step: int = CHECKPOINT, rel: float = RESUMED) -> None:
    """The attempt that resumed from ``step`` reports the same numbers and exports the same weights."""
    expected = {number: entry for number, entry in uninterrupted.history.items() if number > step}
    check_same_metrics(resumed.history, expected, rel=rel)
    assert resumed.summary.progress is not None
    assert uninterrupted.summary.progress is not None
    assert resumed.summary.progress.tokens == uninterrupted.summary.progress.tokens
    check_same_weights(resumed.model, _uninterrupted(uninterrupted))


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


def check_same_metrics(
    actual: Mapping[int, Mapping[str, Any]],
    expected: Mapping[int, Mapping[str, Any]],
    *,
    rel: float,
    absolute: float = 1e-6,
    ignored: Iterable[str] = (),
) -> None:
    """Both histories have the same steps and, in each, the same numbers under every name they share.

    Args:
        actual: metrics by step.
        expected: the same of the run to compare with.
        rel: relative tolerance.
        absolute: absolute tolerance, for numbers near 0.
        ignored: names that may differ, such as durations.
    """
    assert sorted(actual) == sorted(expected)
    for step, entry in expected.items():
        names = (entry.keys() & actual[step].keys()) - _NOT_COMPARED - set(ignored)
        assert {"loss", "grad_norm"} <= names
        for name in sorted(names):
            assert actual[step][name] == pytest.approx(entry[name], rel=rel, abs=absolute, nan_ok=True), (step, name)


def check_same_weights(actual: Path, expected: Path, *, rtol: float = 1e-5, atol: float = 1e-7) -> None:
    """Two model folders hold the same tensors."""
    import torch

    ours, theirs = _tensors(actual), _tensors(expected)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(
            ours[name], tensor, rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


def check_finished(run: StageRun) -> None:
    """The numbers and files that every finished training stage has."""
    progress = run.summary.progress
    assert progress is not None
    assert progress.phase is TrainerPhase.FINISHED
    assert progress.step == progress.total_steps == STEPS
    assert progress.tokens > 0
    assert progress.tokens_per_second
    assert math.isfinite(progress.metrics["loss"])
    assert sorted(run.history) == list(range(1, STEPS + 1))
    checkpoints = run.workspace.layout.stage(run.name).attempt(run.attempt).checkpoints
    saved = sorted(path.name for path in checkpoints.glob("checkpoint-*"))
    assert saved == [f"checkpoint-{CHECKPOINT}", f"checkpoint-{STEPS}"]
    assert run.summary.checkpoint is not None
    assert run.summary.checkpoint.step == STEPS
    assert (run.model / "complete.json").is_file()
    assert list(run.model.rglob("*.bin")) == []


def check_generates(run: StageRun) -> None:
    """transformers loads the exported model and its tokenizer, its weights have moved, and it answers a prompt."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    before, after = _tensors(run.workspace.root / "models/tiny"), _tensors(run.model)
    assert before.keys() == after.keys(), "the folder holds the whole model, under its own names"
    assert any(not torch.equal(before[name], tensor) for name, tensor in after.items())
    tokenizer = AutoTokenizer.from_pretrained(run.model)
    model = AutoModelForCausalLM.from_pretrained(run.model)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "say red"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert answer.shape[1] == inputs["input_ids"].shape[1] + 4


def check_merged(run: StageRun) -> None:
    """The merged model gives the outputs of base and adapter together, and they differ from the base's."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert run.summary.model is not None
    assert run.summary.model.adapter_path is not None
    base = AutoModelForCausalLM.from_pretrained(run.workspace.root / "models" / "tiny")
    merged = AutoModelForCausalLM.from_pretrained(run.model)
    tokens = torch.arange(10).unsqueeze(0)
    with torch.no_grad():
        before = base(tokens).logits
        after = PeftModel.from_pretrained(base, str(run.workspace.root / run.summary.model.adapter_path))(tokens).logits
        torch.testing.assert_close(merged(tokens).logits, after, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(before, after, atol=1e-3)


def _uninterrupted(run: StageRun) -> Path:
    """Where `cut_off_and_resume` keeps the model of the uninterrupted run."""
    model = run.workspace.layout.stage(run.name).model
    return model.with_name(f"{model.name}-uninterrupted")


def _tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}
