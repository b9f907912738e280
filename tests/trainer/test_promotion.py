"""What is promoted, and what is said about it: the choice, the artifact, its card and its lineage."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignment_api.contract import IMAGE_VARIABLE, Summary, token_variable
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import AlignmentJob
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_trainer.exceptions import ConfigurationError, StorageError, TrainerError
from alignment_trainer.promotion.run import promote

from . import tiny
from .promotions import BASE, CHECKED, COMMIT, TRAINED, FinishedJob, save_adapter

PLACE = {"volume": {"path": "models/assistant"}}
IMAGE = f"registry.example.com/trainer@sha256:{'1' * 64}"
CANARY = "canary-3b1f0c"

DIGESTS = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]+$"}}
DESCRIPTOR = {
    "type": "object",
    "required": ["uri", "digest"],
    "properties": {
        "name": {"type": "string"},
        "uri": {"type": "string", "pattern": "^[a-z0-9]+:"},
        "digest": DIGESTS,
        "annotations": {"type": "object"},
    },
    "additionalProperties": False,
}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
STATEMENT = {
    "type": "object",
    "required": ["_type", "subject", "predicateType", "predicate"],
    "additionalProperties": False,
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "predicateType": {"const": "https://slsa.dev/provenance/v1"},
        "subject": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["name", "digest"], "properties": {"digest": DIGESTS}},
        },
        "predicate": {
            "type": "object",
            "required": ["buildDefinition", "runDetails"],
            "additionalProperties": False,
            "properties": {
                "buildDefinition": {
                    "type": "object",
                    "required": ["buildType", "externalParameters"],
                    "additionalProperties": False,
                    "properties": {
                        "buildType": {"type": "string", "pattern": "^https://"},
                        "externalParameters": {"type": "object"},
                        "internalParameters": {"type": "object"},
                        "resolvedDependencies": {"type": "array", "items": DESCRIPTOR},
                    },
                },
                "runDetails": {
                    "type": "object",
                    "required": ["builder"],
                    "additionalProperties": False,
                    "properties": {
                        "builder": {
                            "type": "object",
                            "required": ["id"],
                            "properties": {
                                "id": {"type": "string", "pattern": "^https://"},
                                "version": {"type": "object", "additionalProperties": {"type": "string"}},
                                "builderDependencies": {"type": "array", "items": DESCRIPTOR},
                            },
                            "additionalProperties": False,
                        },
                        "metadata": {
                            "type": "object",
                            "properties": {"invocationId": {"type": "string"}, "startedOn": TIME, "finishedOn": TIME},
                            "additionalProperties": False,
                        },
                        "byproducts": {"type": "array", "items": DESCRIPTOR},
                        "alignment_evaluation": {"type": "object"},
                    },
                },
            },
        },
    },
}
"""in-toto's Statement v1 with SLSA's Provenance v1, and the one extension that is ours."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """What a stage that trained an adapter on the tiny model exports."""
    folder = tmp_path_factory.mktemp("exported")
    save_adapter(tiny_model, folder)
    return folder


@pytest.fixture
def job(tmp_path: Path, tiny_model: Path, exported: Path) -> FinishedJob:
    return FinishedJob(tmp_path, tiny_model, exported)


def promoted(job: FinishedJob, **spec: Any) -> Path:
    """The folder of the promoted model."""
    promote(job.config(PLACE, **spec), job.layout, 1)
    return (job.layout.workspace / "models/assistant").resolve()


def lineage(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "lineage.json").read_text())
    assert isinstance(content, dict)
    return content


def card(folder: Path) -> tuple[dict[str, Any], str]:
    """Metadata and text of the model card."""
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(metadata), text


def refusal(job: FinishedJob, **spec: Any) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        promote(job.config(PLACE, **spec), job.layout, 1)
    assert not (job.layout.workspace / "models").exists()
    assert not job.layout.lineage.exists()
    return caught.value


def logits(model: Any, folder: Path) -> torch.Tensor:
    ids = AutoTokenizer.from_pretrained(folder)("say red garden", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        result = model(ids).logits
    assert isinstance(result, torch.Tensor)
    return result


def test_the_whole_model_is_the_merged_one(job: FinishedJob, exported: Path, tiny_model: Path) -> None:
    folder = promoted(job)
    found = logits(AutoModelForCausalLM.from_pretrained(folder), folder)
    assert torch.equal(found, logits(AutoModelForCausalLM.from_pretrained(exported), folder))
    assert not torch.allclose(found, logits(AutoModelForCausalLM.from_pretrained(tiny_model), folder), atol=1e-3)


def test_the_adapter_alone_makes_the_same_model_of_the_base(job: FinishedJob, exported: Path, tiny_model: Path) -> None:
    from peft import PeftConfig, PeftModel

    folder = promoted(job, artifact="adapter")
    assert not (folder / "model.safetensors").exists()
    configuration = PeftConfig.from_pretrained(str(folder))
    assert (configuration.base_model_name_or_path, configuration.revision) == ("org/base", COMMIT)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), str(folder))
    merged = logits(AutoModelForCausalLM.from_pretrained(exported), exported)
    assert torch.allclose(logits(adapted, exported), merged, atol=1e-5)


def test_a_model_that_no_stage_made_is_promoted_as_it_lies_there(job: FinishedJob, tiny_model: Path) -> None:
    """A snapshot of the hub, whose files are links."""
    snapshot = job.layout.workspace / BASE
    blob = job.layout.workspace / "cache/hub/models--org--base/blobs/1"
    blob.parent.mkdir()
    (snapshot / "model.safetensors").rename(blob)
    (snapshot / "model.safetensors").symlink_to("../../blobs/1")
    job.write_results(path=BASE)
    stages = [stage.to_yaml_dict() for stage in job.config(PLACE).spec.stages]
    stages[1]["evaluate"]["candidate"] = {"huggingFace": {"repository": "org/base"}}
    folder = promoted(job, stages=stages)
    assert not (folder / "model.safetensors").is_symlink()
    assert (folder / "model.safetensors").read_bytes() == (tiny_model / "model.safetensors").read_bytes()
    metadata, text = card(folder)
    assert metadata["base_model"] == "org/base"
    assert "A language model evaluated, starting from org/base" in text
    assert refusal_of_adapter(job, stages) == ["spec.promotion.artifact"]


def refusal_of_adapter(job: FinishedJob, stages: list[dict[str, Any]]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        promote(job.config(PLACE, stages=stages, artifact="adapter"), job.layout, 1)
    return [problem.field for problem in caught.value.problems]


@pytest.mark.parametrize(("passed", "gates"), [(False, 1), (True, 0)])
def test_without_every_gate_nothing_is_promoted(job: FinishedJob, passed: bool, gates: int) -> None:
    job.write_results(passed=passed, gates=gates)
    error = refusal(job)
    assert type(error) is ConfigurationError
    assert [problem.field for problem in error.problems] == ["spec.stages[1].evaluate.gates"]
    assert "so it is not promoted" in error.message


def test_results_that_cannot_be_read_may_come_back(job: FinishedJob) -> None:
    (job.checked.report / "evaluation.json").unlink()
    assert type(refusal(job)) is StorageError


def test_a_model_that_was_not_evaluated_is_not_promoted(job: FinishedJob) -> None:
    tiny.save_model(job.trained.model, seed=9)
    job.complete_model()
    error = refusal(job)
    assert type(error) is StorageError
    assert "is not the one that was evaluated" in error.message


def test_a_job_that_promotes_nothing_is_told_so(job: FinishedJob) -> None:
    config = job.config(PLACE)
    config = config.model_copy(update={"spec": config.spec.model_copy(update={"promotion": None})})
    with pytest.raises(ConfigurationError, match=r"set spec\.promotion"):
        promote(config, job.layout, 1)


@pytest.mark.parametrize("artifact", ["model", "adapter"])
def test_the_lineage_is_provenance_of_every_file(
    job: FinishedJob, artifact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IMAGE_VARIABLE, IMAGE)
    folder = promoted(job, artifact=artifact)
    statement = lineage(folder)
    jsonschema.validate(statement, STATEMENT)
    subject = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
    assert subject == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name not in ("lineage.json", "complete.json")
    }
    definition, run = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    stages = definition["internalParameters"]["stages"]
    assert [(stage["name"], stage["attempts"], stage.get("seed")) for stage in stages] == [
        (TRAINED, 2, 42),
        (CHECKED, 1, None),
    ]
    resolved = job.trained.attempt(2).resolved
    assert stages[0]["resolvedConfiguration"] == {
        "name": "resolved configuration",
        "uri": f"workspace:{job.layout.relative(resolved)}",
        "digest": {"sha256": hashlib.sha256(resolved.read_bytes()).hexdigest()},
    }
    dependencies = {entry["name"]: entry for entry in definition["resolvedDependencies"]}
    assert dependencies["org/base"]["digest"] == {"gitCommit": COMMIT}
    assert set(dependencies) == {"org/base", "data/sft/train", "data/sft/eval"}
    assert run["builder"]["version"] == {"torch": "2.13.0", "trl": "1.16.0"}
    assert run["builder"]["builderDependencies"][0]["digest"] == {"sha256": "1" * 64}
    assert run["metadata"] == {
        "invocationId": "team/assistant/0123456789abcdef",
        "startedOn": "2026-11-01T12:00:00Z",
        "finishedOn": "2026-11-01T12:14:00Z",
    }
    results = job.checked.report / "evaluation.json"
    assert run["byproducts"][0]["digest"] == {"sha256": hashlib.sha256(results.read_bytes()).hexdigest()}
    assert run["alignment_evaluation"]["gates"][0]["value"] == 0.71


def dir_hash(folder: Path) -> str:
    """in-toto's dirHash, by the command that its specification gives."""
    command = "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum | cut -f1 -d' '"
    return subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True).stdout.strip()


def test_digests_of_folders_are_what_sha256sum_says(job: FinishedJob) -> None:
    statement = lineage(promoted(job))
    (found,) = (
        entry["digest"]["dirHash"]
        for entry in statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        if entry["name"] == "data/sft/train"
    )
    assert found == dir_hash(job.trained.data / "train")


def test_a_base_model_of_the_workspace_is_told_by_its_weights(job: FinishedJob, tiny_model: Path) -> None:
    source = {"volume": {"path": "models-in/tiny"}}
    config = job.config(PLACE, model=source)
    prepared = json.loads(job.layout.prepared.read_text())
    (job.layout.workspace / "models-in").mkdir()
    (job.layout.workspace / BASE).rename(job.layout.workspace / "models-in/tiny")
    for folders in prepared["models"].values():
        folders.update({field: "models-in/tiny" for field, path in folders.items() if path == BASE})
    job.layout.prepared.write_text(json.dumps(prepared))
    promote(config, job.layout, 1)
    statement = lineage(job.layout.workspace / "models/assistant")
    first = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert first["digest"] == {"dirHash": dir_hash(job.layout.workspace / "models-in/tiny")}
    metadata, _ = card(job.layout.workspace / "models/assistant")
    assert "base_model" not in metadata  # the hub knows repositories alone


def test_the_same_workspace_gives_the_same_bytes(job: FinishedJob) -> None:
    folder = promoted(job)
    before = (folder / "lineage.json").read_bytes()
    promote(job.config(PLACE), job.layout, 2)
    assert (job.layout.workspace / "models/assistant/lineage.json").read_bytes() == before
    canonical = json.dumps(json.loads(before), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert before == canonical.encode()


def test_the_card_is_in_the_hubs_format_and_has_the_numbers(job: FinishedJob) -> None:
    from huggingface_hub import ModelCard

    folder = promoted(job)
    metadata, text = card(folder)
    assert metadata == {
        "base_model": "org/base",
        "base_model_relation": "finetune",
        "datasets": ["org/pairs"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["alignment", "sft"],
    }
    assert ModelCard.load(folder / "README.md").data.base_model == "org/base"
    for words in (
        f"starting from org/base at commit {COMMIT}",
        "| sft | sft | LoRA of rank 4 | 50 | 10 | 900 | 0.0002 | 42 | 2 |",
        "| winRate (form) | at least 0.55, by the bound of the 90 % interval | 0.71 (0.6 to 0.8) | 40 |",
        "| form | 26 | 5 | 9 | 0 |",
        "kl could not be measured: the baseline | gave no probabilities",
        "Stage sft saw 3 rows of its 50 cut at its maximum length.",
        "## Lineage",
        "## Reproduction",
    ):
        assert words in text
    manifest = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert AlignmentJob.model_validate(manifest).spec == job.config(PLACE).spec.model_copy(update={"promotion": None})


def test_the_command_of_the_card_checks_the_files(job: FinishedJob) -> None:
    folder = promoted(job)
    statement = lineage(folder)
    lines = "".join(f"{entry['digest']['sha256']}  {entry['name']}\n" for entry in statement["subject"])
    subprocess.run(["sha256sum", "--check"], input=lines, text=True, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def test_what_is_published_holds_no_secret_and_no_rows(job: FinishedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets that the Pod holds, ones that people typed into the manifest, and rows that stand in it."""
    monkeypatch.setenv(token_variable(SecretKeyReference(name="hub", key="token")), f"{CANARY}-token")
    rows = [{"prompt": f"{CANARY}-row", "completion": "yes"}]
    stages = [stage.to_yaml_dict() for stage in job.config(PLACE).spec.stages]
    stages[0]["dataset"] = {"inline": {"rows": rows}}
    stages[1]["evaluate"]["judges"].append(
        {"name": "llm", "llm": {"url": f"https://someone:{CANARY}-login@judge.example.com/v1", "model": "m"}}
    )
    template = {"podTemplate": {"env": [{"name": "WANDB_API_KEY", "value": f"{CANARY}-variable"}]}}
    job.trained.attempt(2).resolved.write_text(json.dumps({"seed": 1, "versions": {"torch": f"{CANARY}-token"}}))
    folder = promoted(job, stages=stages, prepare=template, runtime=template)
    for path in (*folder.rglob("*"), job.layout.lineage):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    assert b"WANDB_API_KEY" in job.layout.lineage.read_bytes()
    assert b"https://judge.example.com/v1" in job.layout.lineage.read_bytes()
    jsonschema.validate(lineage(folder), STATEMENT)


def test_everything_that_is_wrong_with_the_places_is_told_at_once(job: FinishedJob) -> None:
    for name in ("one", "two"):
        (job.layout.workspace / name).mkdir()
    places = [{"volume": {"path": name}} for name in ("one", "models/assistant", "two")]
    with pytest.raises(ConfigurationError) as caught:
        promote(job.config(*places), job.layout, 1)
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["spec.promotion.to[0].volume.path", "spec.promotion.to[2].volume.path"]
    assert (job.layout.workspace / "models/assistant/lineage.json").is_file()


def test_the_container_says_where_the_model_is(job: FinishedJob, tmp_path: Path) -> None:
    file, log = tmp_path / "job.json", tmp_path / "termination"
    file.write_text(job.config(PLACE).model_dump_json(by_alias=True, exclude_none=True))
    variables = {
        "ALIGNMENT_CONFIG": str(file),
        "ALIGNMENT_WORKSPACE": str(job.layout.workspace),
        "ALIGNMENT_TERMINATION_LOG": str(log),
        "ALIGNMENT_PROGRESS_PORT": "0",
    }
    command = [sys.executable, "-m", "alignment_trainer", "promote", "--attempt", "1"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == ExitCode.OK, done.stderr
    promotion = Summary.model_validate_json(log.read_text()).promotion
    assert promotion is not None
    assert promotion.locations == ["models/assistant"]
    assert promotion.candidate == "candidate"
    assert promotion.model.path == job.layout.relative(job.trained.model)
