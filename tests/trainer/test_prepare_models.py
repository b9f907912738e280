"""Models that do not fit together, or an adapter that does not fit its model, are refused by Prepare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from alignment_api.v1alpha1 import AlignmentJobSpec, Method
from alignment_api.v1alpha1.model import VolumeModel
from alignment_trainer.models import compatibility

from .conftest import stage_of

TINY = VolumeModel(path="models/tiny")
OTHER = VolumeModel(path="models/other")


@pytest.fixture
def folders(tiny_model: Path, tmp_path: Path) -> dict[Any, Path]:
    """Base models as Prepare finds them; the other one's tokens are numbered otherwise."""
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    return {TINY: tiny_model, OTHER: other}


def problems(folders: dict[Any, Path], *stages: dict[str, Any]) -> dict[str, str]:
    """What is found in the last of ``stages``, by field."""
    spec = AlignmentJobSpec.model_validate(
        {
            "model": {"volume": {"path": TINY.path}},
            "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
            "stages": list(stages),
        }
    )
    found = compatibility.problems(spec.stages[-1], spec, folders, "spec.stages[0]")
    return {problem.field: problem.message for problem in found}


@pytest.mark.parametrize("method", [Method.DPO, Method.KTO])
def test_a_reference_with_other_tokens(folders: dict[Any, Path], method: Method) -> None:
    stage = stage_of(method, **{method.value: {"reference": {"volume": {"path": OTHER.path}}}})
    found = problems(folders, stage)
    assert list(found) == [f"spec.stages[0].{method.value}.reference"]
    assert "of which 2 are missing or numbered otherwise" in found[f"spec.stages[0].{method.value}.reference"]


def test_a_reference_that_a_stage_makes_is_judged_by_its_base(folders: dict[Any, Path]) -> None:
    sft = stage_of(Method.SFT, model={"volume": {"path": OTHER.path}})
    found = problems(folders, sft, stage_of(Method.DPO, dpo={"reference": {"fromStage": "sft"}}))
    assert list(found) == ["spec.stages[0].dpo.reference"]


def test_a_reference_of_the_same_family(folders: dict[Any, Path]) -> None:
    folders[OTHER] = folders[TINY]
    assert problems(folders, stage_of(Method.DPO, dpo={"reference": {"volume": {"path": OTHER.path}}})) == {}


def value_model(labels: int, folder: Path, tiny_model: Path) -> Path:
    """A classifier with as many outputs on the tiny model's tokens."""
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["LlamaForSequenceClassification"]
    config["id2label"] = {number: f"LABEL_{number}" for number in range(labels)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


PPO = {"rewards": [{"name": "varied", "repetition": {}}], "value": {"model": {"volume": {"path": OTHER.path}}}}


def test_values_of_a_model_with_other_tokens(folders: dict[Any, Path]) -> None:
    found = problems(folders, stage_of(Method.PPO, ppo=PPO))
    assert list(found) == ["spec.stages[0].ppo.value.model"]
    assert "another vocabulary" in found["spec.stages[0].ppo.value.model"]


@pytest.mark.parametrize(("labels", "words"), [(1, None), (3, "it has 3 outputs, a reward model has one")])
def test_values_that_start_from_a_classifier(
    folders: dict[Any, Path], tiny_model: Path, tmp_path: Path, labels: int, words: str | None
) -> None:
    folders[OTHER] = value_model(labels, tmp_path / "classifier", tiny_model)
    found = problems(folders, stage_of(Method.PPO, ppo=PPO))
    assert (words in found["spec.stages[0].ppo.value.model"]) if words else found == {}


def test_values_that_start_from_a_language_model(folders: dict[Any, Path]) -> None:
    folders[OTHER] = folders[TINY]
    assert problems(folders, stage_of(Method.PPO, ppo=PPO)) == {}


@pytest.mark.parametrize("layers", [2, 3])
def test_a_reference_of_another_size_cannot_follow(folders: dict[Any, Path], tmp_path: Path, layers: int) -> None:
    larger = tmp_path / "larger"
    shutil.copytree(folders[TINY], larger)
    config = json.loads((larger / "config.json").read_text())
    (larger / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
    folders[OTHER] = larger
    reference = {"reference": {"volume": {"path": OTHER.path}}}
    assert problems(folders, stage_of(Method.DPO, dpo=reference)) == {}, "it may be held as it is"
    found = problems(folders, stage_of(Method.DPO, dpo=reference | {"syncReference": {}}))
    assert list(found) == ([] if layers == 2 else ["spec.stages[0].dpo.reference"])


def test_targets_that_the_model_does_not_have(folders: dict[Any, Path]) -> None:
    lora = {"targetModules": ["q_proj", "self_attn.v_proj", "q_porj"]}
    found = problems(folders, stage_of(Method.SFT, adapter={"lora": lora}))
    assert found == {
        "spec.stages[0].adapter.lora.targetModules": "q_porj is no linear layer of the model, which has down_proj, "
        "gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj: correct or remove it"
    }
