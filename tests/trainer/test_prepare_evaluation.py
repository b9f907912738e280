"""What Prepare finds out about the measures of an evaluate stage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import JobLayout, token_variable
from alignment_api.v1alpha1.evaluation import TextCorpus
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer.completion import FileEntry
from alignment_trainer.data import texts
from alignment_trainer.data.built_once import SourceMarker
from alignment_trainer.data.sources import config_map
from alignment_trainer.exceptions import ConfigurationError, DataError, UnavailableError
from alignment_trainer.prepared import Prepared

from . import harness_tasks, hub_server, s3_server, tiny
from .conftest import JOB, Workspace
from .test_evaluation_measures import save_classifier
from .test_prepare import pairs, refused, run

DOCUMENTS = [{"text": f"document {i}", "title": f"title {i}", "size": i} for i in range(6)]
MEASURES = "spec.stages[0].evaluate.measures"


def stage(**evaluate: Any) -> dict[str, Any]:
    """An evaluate stage of the tiny model against itself."""
    return {
        "name": "check",
        "dataset": {"inline": {"rows": pairs(4)}},
        "evaluate": {
            "candidate": {"volume": {"path": "models/tiny"}},
            "baseline": {"volume": {"path": "models/tiny"}},
            "judges": [{"name": "form", "heuristic": {}}],
        }
        | evaluate,
    }


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def text(**fields: Any) -> dict[str, Any]:
    return {"name": "prose", "inline": {"rows": DOCUMENTS}} | fields


class TestTexts:
    """Documents of every kind of source."""

    def prepared(self, layout: JobLayout, settings: dict[str, Any]) -> list[str]:
        corpus = TextCorpus.model_validate(settings)
        texts.prepare(corpus, layout.stage("check"), layout, "spec.text")
        return texts.read(corpus, layout.stage("check"))

    def test_of_the_manifest(self, workspace: Workspace) -> None:
        rows = [*DOCUMENTS[:2], {"text": "  "}, *DOCUMENTS[2:]]
        found = self.prepared(workspace.layout, text(inline={"rows": rows}, maxSamples=4))
        assert found == [f"document {i}" for i in range(4)], "an empty document does not count"

    def test_of_another_column(self, workspace: Workspace) -> None:
        assert self.prepared(workspace.layout, text(column="title"))[5] == "title 5"

    def test_of_the_workspace(self, workspace: Workspace) -> None:
        (workspace.root / "prose.jsonl").write_text(lines(DOCUMENTS))
        settings = {"name": "prose", "volume": {"path": "prose.jsonl"}}
        assert len(self.prepared(workspace.layout, settings)) == 6
        (workspace.root / "prose.jsonl").unlink()
        assert len(self.prepared(workspace.layout, settings)) == 6, "what is prepared stays"

    def test_of_a_config_map(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(config_map, "CONFIG_MAPS_MOUNT", workspace.root / "maps")
        (workspace.root / "maps" / "prose").mkdir(parents=True)
        (workspace.root / "maps" / "prose" / "a.jsonl").write_text(lines(DOCUMENTS))
        settings = {"name": "prose", "configMap": {"name": "prose", "key": "a.jsonl"}}
        assert len(self.prepared(workspace.layout, settings)) == 6

    def test_of_a_store(self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "store"
        folder.mkdir()
        for key, value in (
            ("AWS_ACCESS_KEY_ID", s3_server.ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", s3_server.SECRET_KEY),
        ):
            monkeypatch.setenv(token_variable(SecretKeyReference(name="store", key=key)), value)
        with s3_server.running(folder) as server:
            server.put("bucket/prose.jsonl", lines(DOCUMENTS).encode())
            place = {"bucket": "bucket", "key": "prose.jsonl", "endpoint": server.endpoint}
            found = self.prepared(
                workspace.layout,
                {"name": "prose", "s3": place | {"region": s3_server.REGION, "credentialsSecret": "store"}},
            )
        assert len(found) == 6

    def test_of_a_hub_of_which_only_the_beginning_is_read(self, workspace: Workspace) -> None:
        files = {f"data/train-{i}.jsonl": lines(DOCUMENTS[3 * i : 3 * i + 3]).encode() for i in range(2)}
        settings = {"name": "prose", "huggingFace": {"name": "team/prose"}, "maxSamples": 2}
        program = (
            "import sys; from pathlib import Path; from alignment_api.contract import JobLayout, JobReference;"
            "from alignment_api.v1alpha1.evaluation import TextCorpus; from alignment_trainer.data import texts;"
            f"layout = JobLayout(Path(sys.argv[1]), JobReference(**{JOB.model_dump()}));"
            "text = TextCorpus.model_validate_json(sys.argv[2]);"
            "texts.prepare(text, layout.stage('check'), layout, 'spec.text')"
        )
        with hub_server.running({"team/prose": files}) as hub:
            variables = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(workspace.root / "home")}
            command = [sys.executable, "-c", program, str(workspace.root), json.dumps(settings)]
            subprocess.run(command, env=os.environ | variables, check=True, timeout=120)
            assert "team/prose/data/train-1.jsonl" not in hub.read
        corpus = TextCorpus.model_validate(settings)
        assert texts.read(corpus, workspace.layout.stage("check")) == ["document 0", "document 1"]

    def test_their_digest_is_kept_and_damage_is_repaired(self, workspace: Workspace) -> None:
        self.prepared(workspace.layout, text())
        folder = texts.folder_of(TextCorpus.model_validate(text()), workspace.layout.stage("check"))
        marker = SourceMarker.model_validate_json((folder / "complete.json").read_bytes())
        (name,) = marker.files
        assert marker.files[name] == FileEntry(size=(folder / name).stat().st_size, xxh3=marker.files[name].xxh3)
        (folder / name).write_text('"document"\n')
        assert len(self.prepared(workspace.layout, text())) == 6
        assert len(self.prepared(workspace.layout, text(maxSamples=2))) == 2, "other settings make other documents"

    @pytest.mark.parametrize(
        ("fields", "field", "words"),
        [
            ({"column": "body"}, ".column", "inline row 1 has no column body, but text, title, size: name the column"),
            ({"column": "size"}, ".column", "inline row 1: column size holds a number, not text: name the column"),
            ({"inline": {"rows": [{"text": ""}]}}, "", "inline rows has no text in column text: name another"),
            ({"inline": None, "volume": {"path": "none.jsonl"}}, ".volume.path", "none.jsonl does not exist"),
        ],
    )
    def test_refused(self, workspace: Workspace, fields: dict[str, Any], field: str, words: str) -> None:
        settings = {name: value for name, value in text(**fields).items() if value is not None}
        problems = refused(DataError, workspace, [stage(measures={"texts": [settings]})])
        assert list(problems) == [f"{MEASURES}.texts[0]{field}"]
        assert words in problems[f"{MEASURES}.texts[0]{field}"]
        assert not list((workspace.layout.stage("check").data / "texts").glob("*"))

    def test_an_unreachable_hub(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
        settings = {"name": "prose", "huggingFace": {"name": "team/prose"}}
        problems = refused(UnavailableError, workspace, [stage(measures={"texts": [settings]})])
        assert list(problems) == [f"{MEASURES}.texts[0].huggingFace"]


@pytest.fixture
def other(workspace: Workspace) -> dict[str, Any]:
    """A model with other tokens than the tiny one's."""
    folder = workspace.root / "models" / "other"
    shutil.copytree(workspace.root / "models" / "tiny", folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["!"], vocabulary['"'] = vocabulary['"'], vocabulary["!"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return {"volume": {"path": "models/other"}}


def test_a_sound_stage_with_everything(workspace: Workspace) -> None:
    harness_tasks.save(workspace.root / "tasks")
    save_classifier(workspace.root / "models" / "classifier")
    tiny_model = {"volume": {"path": "models/tiny"}}
    measures = {
        "texts": [text()],
        "tasks": [{"name": "colours", "task": "colours", "folder": "tasks"}],
        "classifiers": [
            {"name": "toxicity", "model": {"volume": {"path": "models/classifier"}}, "label": "toxic"},
        ],
    }
    candidates = [{"name": name, "model": tiny_model} for name in ("one", "two")]
    check = stage(measures=measures, candidates=candidates)
    del check["evaluate"]["candidate"]
    assert run(workspace, [check]).exit_code == 0
    data = workspace.layout.stage("check").data
    assert (data / "texts" / "prose" / "complete.json").exists()
    assert (data / "tasks" / "colours" / "complete.json").exists()
    assert Prepared.load(workspace.layout).models["check"] == {
        "evaluate.candidates[0].model": "models/tiny",
        "evaluate.candidates[1].model": "models/tiny",
        "evaluate.baseline": "models/tiny",
        "evaluate.measures.classifiers[0].model": "models/classifier",
    }


def test_every_problem_is_found_at_once(workspace: Workspace) -> None:
    harness_tasks.save(workspace.root / "tasks")
    save_classifier(workspace.root / "models" / "classifier")
    classifier = {"volume": {"path": "models/classifier"}}
    measures = {
        "texts": [text(), text(name="more", column="body")],
        "tasks": [{"name": "colours", "task": "colors", "folder": "tasks"}],
        "classifiers": [
            {"name": "a", "model": classifier, "label": "toxik"},
            {"name": "b", "model": {"volume": {"path": "models/tiny"}}, "label": "toxic"},
        ],
    }
    check = stage(measures=measures) | {"dataset": {"inline": {"rows": [{"prompt": "q", "chosen": 1, "rejected": 2}]}}}
    problems = refused(ConfigurationError, workspace, [check])
    assert set(problems) == {
        "spec.stages[0].dataset",
        f"{MEASURES}.texts[1].column",
        f"{MEASURES}.tasks[0].task",
        f"{MEASURES}.classifiers[0].label",
        f"{MEASURES}.classifiers[1].model",
    }


def test_a_pickled_classifier_is_refused(workspace: Workspace) -> None:
    folder = save_classifier(workspace.root / "models" / "classifier")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    measures = {"classifiers": [{"name": "a", "model": {"volume": {"path": "models/classifier"}}, "label": "toxic"}]}
    problems = refused(ConfigurationError, workspace, [stage(measures=measures)])
    (field,) = problems
    assert field == f"{MEASURES}.classifiers[0].model.volume.path"
    assert "a pickle" in problems[field]


PERPLEXITY = {"metric": "perplexity", "measure": "prose", "atMost": 100}


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"metric": "kl", "atMost": 1}, "remove the gate"),
        (PERPLEXITY | {"relativeToBaseline": "ratio"}, "remove relativeToBaseline"),
        (PERPLEXITY, None),
    ],
)
def test_gates_by_token_need_the_same_tokens(
    workspace: Workspace, other: dict[str, Any], gate: dict[str, Any], words: str | None
) -> None:
    check = stage(candidate=other, measures={"texts": [text()]}, gates=[gate])
    if words is None:
        run(workspace, [check])
        return
    problems = refused(ConfigurationError, workspace, [check])
    assert list(problems) == ["spec.stages[0].evaluate.gates[0]"]
    assert "candidate has another vocabulary than the baseline" in problems["spec.stages[0].evaluate.gates[0]"]
    assert words in problems["spec.stages[0].evaluate.gates[0]"]


def test_a_model_that_transformers_does_not_know(workspace: Workspace, other: dict[str, Any]) -> None:
    for name in ("other", "classifier"):
        folder = workspace.root / "models" / name
        if name == "classifier":
            save_classifier(folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "unheard-of"}))
    measures = {"classifiers": [{"name": "a", "model": {"volume": {"path": "models/classifier"}}, "label": "toxic"}]}
    problems = refused(ConfigurationError, workspace, [stage(baseline=other, measures=measures)])
    assert "models/other cannot be loaded" in problems["spec.stages[0].evaluate.baseline"]
    assert "unheard-of" in problems[f"{MEASURES}.classifiers[0].model"]


def test_a_baseline_without_chat_template(workspace: Workspace, other: dict[str, Any]) -> None:
    (workspace.root / other["volume"]["path"] / "chat_template.jinja").unlink()
    problems = refused(ConfigurationError, workspace, [stage(baseline=other)])
    assert "no chat template" in problems["spec.tokenizer.chatTemplate"]


def test_a_task_whose_answers_no_model_has_room_for(workspace: Workspace) -> None:
    harness_tasks.save(workspace.root / "tasks")
    path = workspace.root / "tasks" / "writing.yaml"
    path.write_text(path.read_text().replace("max_gen_toks: 5", "max_gen_toks: 300"))
    measures = {"tasks": [{"name": "writing", "task": "writing", "folder": "tasks"}]}
    problems = refused(ConfigurationError, workspace, [stage(measures=measures)])
    assert "up to 300 tokens, and models/tiny takes 256" in problems[f"{MEASURES}.tasks[0].task"]


def test_trained_models_are_judged_by_what_they_descend_from(workspace: Workspace, other: dict[str, Any]) -> None:
    sft = {
        "name": "sft",
        "model": other,
        "dataset": {"inline": {"rows": tiny.conversation_rows(4)}},
        "sft": {},
        "training": {"globalBatchSize": 2},
    }
    check = stage(candidate={"fromStage": "sft"}, gates=[{"metric": "kl", "atMost": 1}])
    problems = refused(ConfigurationError, workspace, [sft, check])
    assert list(problems) == ["spec.stages[1].evaluate.gates[0]"]
