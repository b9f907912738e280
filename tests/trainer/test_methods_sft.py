"""SFT by the real command line: like plain TRL, resumed like uninterrupted, and every choice of loss and adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from alignment_api.v1alpha1 import Method, Stage
from alignment_trainer.registry import check_options

from . import tiny
from .conftest import TRAINING, Workspace, stage_of, workspace_in
from .in_process import RUNTIME, make_trainer
from .method_checks import PLAIN, check_finished, check_generates, check_resumed, check_same_metrics
from .method_runs import StageRun, cut_off_and_resume, plain_history, run_stage


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("sft"), tiny_model) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def sft(volume: Workspace) -> StageRun:
    rows = tiny.completion_rows(24)
    return run_stage(volume, Method.SFT, rows[4:], held_out=rows[:4])


def test_all_weights(sft: StageRun) -> None:
    check_finished(sft)
    check_generates(sft)
    assert sft.summary.progress is not None
    assert math.isfinite(sft.summary.progress.metrics["eval_loss"])


def test_the_resolved_configuration_is_kept_and_summed_up_in_the_log(sft: StageRun) -> None:
    resolved = sft.resolved
    assert resolved["options"]["gradient_accumulation_steps"] == {"value": 1, "by": "training.globalBatchSize"}
    assert resolved["options"]["learning_rate"] == {"value": 1e-3, "by": "training.learningRate"}
    assert resolved["options"]["max_length"] == {"value": 1024, "by": "sft.maxLength"}
    assert resolved["options"]["packing_strategy"]["by"] == "trl"
    assert (resolved["method"], resolved["adapter"], resolved["seed"]) == ("sft", None, 42)
    assert resolved["model"] == "models/tiny"
    assert resolved["rows"] == {"train": 20, "eval": 4}
    assert resolved["tokenizer"]["pad"] == {"token": "<|pad|>", "id": 0}
    assert resolved["tokenizer"]["eos"] == {"token": "<|end|>", "id": 1}
    assert resolved["tokenizer"]["chatTemplate"]["name"] == "of the model"
    assert resolved["versions"]["trl"] == version("trl")
    assert "learning_rate = 0.001 (training.learningRate)" in sft.workspace.pods[0].output.read_text()


def test_equals_a_plain_trl_script(sft: StageRun, tmp_path: Path) -> None:
    plain = plain_history(sft, {"max_length": 1024, "completion_only_loss": True}, tmp_path)
    check_same_metrics(sft.history, plain, rel=PLAIN)


def test_resumed_equals_uninterrupted(sft: StageRun) -> None:
    check_resumed(sft, cut_off_and_resume(sft))


def test_packed_rows_do_not_see_each_other(tiny_model: Path, tmp_path: Path) -> None:
    """The loss of rows packed into one sequence is that of the same rows side by side."""
    import torch

    losses = []
    rows = tiny.completion_rows(4)
    for packing in (False, True):
        training = TRAINING | {"microBatchSize": 4}
        folder = tmp_path / str(packing)
        trainer = make_trainer(Method.SFT, rows, tiny_model, folder, sft={"packing": packing}, training=training)
        batch = next(iter(trainer.get_train_dataloader()))
        assert len(batch["input_ids"]) == (1 if packing else 4)
        with torch.no_grad():
            losses.append(trainer.compute_loss(trainer.model, batch))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("truncation", ["keepStart", "keepEnd"])
def test_which_end_of_a_long_row_is_kept(tiny_model: Path, tmp_path: Path, truncation: str) -> None:
    rows = tiny.conversation_rows(2)
    sft = {"lossOn": "all", "maxLength": 8, "truncation": truncation}
    trainer = make_trainer(Method.SFT, rows, tiny_model, tmp_path, sft=sft)
    for row, cut in zip(rows, trainer.train_dataset["input_ids"], strict=True):
        whole = trainer.processing_class.apply_chat_template(row["messages"], return_dict=True)["input_ids"]
        assert len(whole) > 8
        assert cut == (whole[:8] if truncation == "keepStart" else whole[-8:])


def test_packing_that_would_cut_the_kept_end_is_refused() -> None:
    stage = Stage.model_validate(stage_of(Method.SFT, sft={"packing": True, "truncation": "keepEnd"}))
    problems = check_options(stage, RUNTIME, path="spec.stages[0]")
    assert [problem.field for problem in problems] == ["spec.stages[0].sft.truncation"]
    assert "keepStart" in problems[0].message
