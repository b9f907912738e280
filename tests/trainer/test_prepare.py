"""Prepare, from a job's specification to prepared data, or to every problem of every stage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from datasets import load_from_disk

from alignment_api.contract import JobLayout, RunConfig, Summary
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_trainer import prepare
from alignment_trainer.data import store
from alignment_trainer.exceptions import ConfigurationError, DataError, Preempted, TrainerError, UnavailableError
from alignment_trainer.prepared import Prepared

from . import tiny
from .conftest import JOB, Workspace

TRAINING = {"globalBatchSize": 2}


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"question {i}", "chosen": f"kind {i}", "rejected": f"curt {i}"} for i in range(count)]


def sft(rows: list[dict[str, Any]] | None = None, **dataset: Any) -> dict[str, Any]:
    rows = rows if rows is not None else tiny.conversation_rows(20)
    return {"name": "sft", "dataset": {"inline": {"rows": rows}} | dataset, "sft": {}, "training": TRAINING}


def dpo(rows: list[dict[str, Any]] | None = None, **dataset: Any) -> dict[str, Any]:
    return {
        "name": "dpo",
        "model": {"fromStage": "sft"},
        "dataset": {"inline": {"rows": rows if rows is not None else pairs(20)}, "evalFraction": 0.3} | dataset,
        "dpo": {},
        "training": TRAINING,
    }


EVALUATE = {
    "name": "check",
    "dataset": {"heldOutFromStage": "dpo"},
    "evaluate": {
        "candidate": {"fromStage": "dpo"},
        "baseline": {"fromStage": "sft"},
        "judges": [{"name": "form", "heuristic": {}}],
    },
}


def run(workspace: Workspace, stages: list[dict[str, Any]], **spec: Any) -> Summary:
    parsed = AlignmentJobSpec.model_validate(
        {
            "model": {"volume": {"path": "models/tiny"}},
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "stages": stages,
        }
        | spec
    )
    return prepare.main(RunConfig(job=JOB, spec=parsed), workspace.layout)


def refused(
    kind: type[TrainerError], workspace: Workspace, stages: list[dict[str, Any]], **spec: Any
) -> dict[str, str]:
    """The problems with which Prepare refuses the job, by field."""
    with pytest.raises(kind) as caught:
        run(workspace, stages, **spec)
    assert type(caught.value) is kind
    assert not workspace.layout.prepared.exists()
    return {problem.field: problem.message for problem in caught.value.problems}


def test_a_sound_job(workspace: Workspace) -> None:
    summary = run(workspace, [sft(), dpo(), EVALUATE])
    assert summary.exit_code == 0
    numbers = {entry.stage: entry.data for entry in summary.data or []}
    assert list(numbers) == ["sft", "dpo", "check"]
    assert numbers["dpo"].train_rows + numbers["dpo"].eval_rows == numbers["dpo"].rows == 20
    assert numbers["check"].eval_rows == numbers["dpo"].eval_rows > 0
    assert numbers["sft"].tokens > 20

    layout = workspace.layout
    prepared = Prepared.load(layout)
    assert prepared.models["sft"] == {"model": "models/tiny"}
    assert prepared.models["dpo"] == {"model": layout.relative(layout.stage("sft").model)}
    assert prepared.models["check"]["evaluate.candidate"] == layout.relative(layout.stage("dpo").model)
    rows = load_from_disk(str(layout.stage("sft").data / "train"))
    assert set(rows.column_names) == {"prompt", "completion"}
    assert not (layout.stage("sft").data / "eval").exists()
    held_out = load_from_disk(str(layout.stage("check").data / "eval"))
    assert set(held_out.column_names) == {"prompt", "chosen", "rejected"}
    report = json.loads((workspace.root / str(numbers["dpo"].report)).read_text())
    assert report["format"] == "preference"
    assert report["duplicateRows"] == 0
    assert report["rowTokens"]["max"] >= report["rowTokens"]["p50"] > 0


def test_loss_on_every_turn_keeps_conversations_whole(workspace: Workspace) -> None:
    run(workspace, [sft() | {"sft": {"lossOn": "assistant"}}])
    assert load_from_disk(str(workspace.layout.stage("sft").data / "train")).column_names == ["messages"]


def test_bad_rows_of_the_last_stage_are_named_by_line(workspace: Workspace) -> None:
    rows = pairs(12)
    rows[4]["chosen"] = " "
    rows[9]["rejected"] = rows[9]["chosen"]
    path = workspace.root / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    last = dpo() | {"dataset": {"volume": {"path": "pairs.jsonl"}}}
    problems = refused(DataError, workspace, [sft(), last])
    message = problems["spec.stages[1].dataset"]
    assert "2 of 12 rows of pairs.jsonl are invalid" in message
    assert "pairs.jsonl line 5: column chosen: is empty" in message
    assert "pairs.jsonl line 10: column rejected: is identical to chosen" in message
    listed = (workspace.layout.stage("dpo").report / "dropped.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in listed] == ["pairs.jsonl line 5", "pairs.jsonl line 10"]
    assert not workspace.layout.stage("dpo").data.exists()


def test_rows_of_one_prompt_cannot_be_held_out(workspace: Workspace) -> None:
    same = [{"prompt": "q", "chosen": f"kind {i}", "rejected": "curt"} for i in range(4)]
    problems = refused(DataError, workspace, [sft(), dpo(same), EVALUATE])
    assert list(problems) == ["spec.stages[1].dataset.evalFraction"]
    assert "two different prompts" in problems["spec.stages[1].dataset.evalFraction"]


def test_tolerated_bad_rows_are_dropped_and_counted(workspace: Workspace) -> None:
    rows = [*pairs(9), {"prompt": "q", "chosen": "", "rejected": "r"}]
    summary = run(workspace, [sft(), dpo(rows, quality={"maxInvalidFraction": 0.1})])
    assert summary.data is not None
    assert (summary.data[1].data.rows, summary.data[1].data.invalid_rows) == (10, 1)


def test_every_problem_of_every_stage_is_reported_at_once(workspace: Workspace) -> None:
    wrong_option = sft([{"question": "no known columns"}]) | {"trainerArgs": {"adam_bta2": 0.9}}
    problems = refused(
        ConfigurationError, workspace, [wrong_option, dpo([{"prompt": "q", "chosen": 1, "rejected": ""}])]
    )
    assert "adam_beta2" in next(text for field, text in problems.items() if "trainerArgs" in field)
    assert "no format has the columns" in problems["spec.stages[0].dataset.format"]
    assert "must be a list of messages, not a number" in problems["spec.stages[1].dataset"]


def test_data_is_checked_though_the_model_is_missing(workspace: Workspace) -> None:
    shutil.rmtree(workspace.root / "models")
    problems = refused(ConfigurationError, workspace, [sft([{"messages": []}])])
    assert "no folder in the workspace volume" in problems["spec.model.volume.path"]
    assert "no assistant message" in problems["spec.stages[0].dataset"]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "lacks config.json"),
        ("model.safetensors", "lacks model.safetensors"),
        ("tokenizer.json", "lacks a tokenizer"),
    ],
)
def test_an_incomplete_model_is_refused(workspace: Workspace, file: str, message: str) -> None:
    (workspace.root / "models" / "tiny" / file).unlink()
    assert message in refused(ConfigurationError, workspace, [sft()])["spec.model.volume.path"]


def test_a_missing_shard_is_named(workspace: Workspace) -> None:
    model = workspace.root / "models" / "tiny"
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    problems = refused(ConfigurationError, workspace, [sft()])
    assert "lacks model-00002-of-00002.safetensors:" in problems["spec.model.volume.path"]


def test_a_model_without_chat_template_is_refused(workspace: Workspace) -> None:
    (workspace.root / "models" / "tiny" / "chat_template.jinja").unlink()
    assert "no chat template" in refused(ConfigurationError, workspace, [sft()])["spec.tokenizer.chatTemplate"]


def test_loss_on_assistant_turns_needs_generation_marks(workspace: Workspace) -> None:
    template = "{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}"
    stage = sft() | {"sft": {"lossOn": "assistant"}}
    problems = refused(ConfigurationError, workspace, [stage], tokenizer={"chatTemplate": {"inline": template}})
    assert "{% generation %}" in problems["spec.tokenizer.chatTemplate"]


def test_a_reward_stage_must_keep_some_rows(workspace: Workspace) -> None:
    stage = dpo() | {"name": "reward", "reward": {"maxLength": 8}}
    del stage["dpo"], stage["model"]
    assert "longer than 8 tokens" in refused(DataError, workspace, [stage])["spec.stages[0].reward.maxLength"]


def test_preparing_again_reuses_complete_stages_only(workspace: Workspace) -> None:
    run(workspace, [sft(), dpo()])
    layout = workspace.layout
    kept = (layout.stage("sft").data / "complete.json").stat().st_mtime_ns
    # As a Prepare killed while it wrote would leave it:
    shutil.rmtree(layout.stage("dpo").data / "train")
    layout.prepared.unlink()
    run(workspace, [sft(), dpo()])
    assert (layout.stage("sft").data / "complete.json").stat().st_mtime_ns == kept
    assert store.read_rows(layout.stage("dpo").data / "train")
    assert not list(layout.root.glob("*/.data.building"))


def hub_model(layout: JobLayout, model: Path, commit: str = "c" * 40) -> None:
    """Put a model into the shared cache in the hub's layout."""
    repository = layout.cache / "hub" / "models--org--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(model, repository / "snapshots" / commit)


HUB_MODEL = {"huggingFace": {"repository": "org/tiny"}}


def test_a_hub_model_is_pinned_to_a_commit(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub_model(workspace.layout, workspace.root / "models" / "tiny")
    run(workspace, [sft()], model=HUB_MODEL)
    folder = Prepared.load(workspace.layout).models["sft"]["model"]
    assert folder == f"cache/hub/models--org--tiny/snapshots/{'c' * 40}"


def test_an_unreachable_hub_is_named_with_the_way_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    problems = refused(UnavailableError, workspace, [sft()], model=HUB_MODEL)
    assert "the hub cannot be reached" in problems["spec.model.huggingFace"]
    assert "HF_ENDPOINT" in problems["spec.model.huggingFace"]


def test_an_unreachable_hub_dataset(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    stage = sft() | {"dataset": {"huggingFace": {"name": "org/rows"}}}
    problems = refused(UnavailableError, workspace, [stage])
    assert "dataset org/rows" in problems["spec.stages[0].dataset.huggingFace"]


def test_told_to_stop_it_stops_at_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Preempted("told to stop")

    monkeypatch.setattr(prepare, "prepare_stage", stop)
    with pytest.raises(Preempted):
        run(workspace, [sft(), dpo()])
    assert not workspace.layout.prepared.exists()
