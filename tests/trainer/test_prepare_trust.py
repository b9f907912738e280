"""What models may do to the process that reads them: nothing, unless the manifest trusts their code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trl import SFTConfig

from alignment_api.contract import JobLayout, JobReference, RunConfig
from alignment_api.v1alpha1 import Method
from alignment_api.v1alpha1.model import HuggingFaceModel, VolumeModel
from alignment_trainer import base_models, prepare
from alignment_trainer.exceptions import ConfigurationError
from alignment_trainer.models import remote_code
from alignment_trainer.prepared import Prepared
from alignment_trainer.trainer_args import check

from . import hub_server, tiny
from .conftest import TRAINING, Workspace, stage_of

CODE = """
from transformers import LlamaConfig, LlamaForCausalLM


class OwnConfig(LlamaConfig):
    model_type = "own-llama"


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""
RUNS = "raise AssertionError('the code of the model was run')"
AUTO_MAP = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}


@pytest.fixture
def layout(tmp_path: Path) -> JobLayout:
    return JobLayout(workspace=tmp_path, job=JobReference(namespace="team", name="job", uid="0123456789"))


@pytest.fixture(autouse=True)
def _forget_trust() -> Iterator[None]:
    """What one test trusts, the next does not."""
    yield
    remote_code._trusted.clear()


def model_with_code(layout: JobLayout, tiny_model: Path, code: str = RUNS, **changes: Any) -> Path:
    """The tiny model as one that needs code of its own."""
    folder = layout.workspace / "models" / "own"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own-llama", "architectures": ["OwnForCausalLM"], "auto_map": AUTO_MAP} | changes
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_own.py").write_text(code)
    return folder


def refused(layout: JobLayout, model: base_models.BaseModel) -> tuple[str, str]:
    """Field and message of the one problem that the model has."""
    with pytest.raises(ConfigurationError) as caught:
        base_models.fetch(model, layout, "spec.model")
    [problem] = caught.value.problems
    return problem.field, problem.message


class TestCode:
    """Models with Python code."""

    def test_it_is_not_run_unless_trusted(self, layout: JobLayout, tiny_model: Path) -> None:
        model_with_code(layout, tiny_model)
        field, message = refused(layout, VolumeModel(path="models/own"))
        assert field == "spec.model.volume.trustRemoteCode"
        assert "models/own brings Python code of its own" in message
        assert "allowances.trustRemoteCode" in message

    def test_a_model_that_transformers_knows_needs_none(self, layout: JobLayout, tiny_model: Path) -> None:
        folder = model_with_code(layout, tiny_model, model_type="llama", architectures=["LlamaForCausalLM"])
        assert base_models.fetch(VolumeModel(path="models/own"), layout, "spec.model") == folder
        assert remote_code.options(folder) == {"trust_remote_code": False}
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(folder, **remote_code.options(folder))
        assert type(model).__name__ == "LlamaForCausalLM"

    def test_tokenizers_count_too(self, layout: JobLayout, tiny_model: Path) -> None:
        folder = model_with_code(layout, tiny_model, model_type="llama", auto_map={})
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
        tokenizer |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
        field, _ = refused(layout, VolumeModel(path="models/own"))
        assert field == "spec.model.volume.trustRemoteCode"

    def test_code_of_another_repository_is_not_fetched(self, layout: JobLayout, tiny_model: Path) -> None:
        model_with_code(layout, tiny_model, auto_map={"AutoConfig": "someone/else--modeling_own.OwnConfig"})
        field, message = refused(layout, VolumeModel(path="models/own", trust_remote_code=True))
        assert field == "spec.model.volume.trustRemoteCode"
        assert "repository someone/else" in message

    @pytest.mark.parametrize("option", ["trust_remote_code", "use_safetensors", "weights_only"])
    def test_options_of_the_trainer_do_not_get_around_it(self, option: str) -> None:
        [problem] = check({"model_init_kwargs": {option: True}}, SFTConfig, {}, "trainerArgs")
        assert problem.field == "trainerArgs.model_init_kwargs"
        assert option in problem.message

    def test_trusted_code_prepares_trains_and_stays_with_the_model(
        self, workspace: Workspace, tiny_model: Path
    ) -> None:
        model_with_code(workspace.layout, tiny_model, CODE)
        rows = {"inline": {"rows": tiny.conversation_rows(12)}}
        stages = [
            stage_of(Method.SFT, dataset=rows, training=TRAINING | {"maxSteps": 2}),
            stage_of(Method.DPO, model={"fromStage": "sft"}, dataset={"inline": {"rows": tiny.preference_rows(12)}}),
        ]
        trusted = {"volume": {"path": "models/own", "trustRemoteCode": True}}
        runtime = {"processesPerNode": 2, "deepspeed": {"zeroStage": 3}}
        job = workspace.write_job({"model": trusted, "runtime": runtime, "stages": stages})
        prepare.main(RunConfig.model_validate_json(job.read_text()), workspace.layout)
        exported = workspace.layout.stage("sft").model
        assert set(Prepared.load(workspace.layout).trusted) == {
            "models/own",
            *(workspace.layout.relative(workspace.layout.stage(stage).model) for stage in ("sft", "dpo")),
        }
        summary = workspace.start(job, "sft").wait()
        assert summary.exit_code == 0, workspace.pods[-1].output.read_text()[-3000:]
        assert (exported / "modeling_own.py").read_text() == CODE
        remote_code.trust([exported])
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(exported, **remote_code.options(exported))
        assert type(model).__name__ == "OwnForCausalLM"


class TestPickles:
    """Weights that are pickles: reading one can run any code."""

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "last.ckpt"])
    def test_a_folder(self, layout: JobLayout, tiny_model: Path, name: str) -> None:
        folder = layout.workspace / "models" / "old"
        shutil.copytree(tiny_model, folder)
        (folder / "model.safetensors").rename(folder / name)
        field, message = refused(layout, VolumeModel(path="models/old"))
        assert field == "spec.model.volume.path"
        assert f"models/old has its weights in {name}, a pickle" in message
        assert "save_pretrained" in message

    def test_a_repository_of_the_hub(
        self, layout: JobLayout, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {path.name: path.read_bytes() for path in tiny_model.iterdir() if path.is_file()}
        files["pytorch_model.bin"] = files.pop("model.safetensors")
        with hub_server.running({"old/model": files}) as hub:
            monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
            files_at = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files_at)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            field, message = refused(layout, HuggingFaceModel(repository="old/model"))
        assert field == "spec.model.huggingFace"
        assert "old/model has its weights in pytorch_model.bin, a pickle" in message
        assert "old/model/pytorch_model.bin" not in hub.read, "it need not be downloaded to be refused"

    def test_one_beside_safetensors_is_left_alone(self, layout: JobLayout, tiny_model: Path) -> None:
        folder = layout.workspace / "models" / "both"
        shutil.copytree(tiny_model, folder)
        (folder / "pytorch_model.bin").write_bytes(b"never read")
        assert base_models.fetch(VolumeModel(path="models/both"), layout, "spec.model") == folder
