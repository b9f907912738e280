"""Which engine generates, and what vLLM is told; that it answers as transformers does needs a GPU and vLLM."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from alignment_api.contract import RunConfig
from alignment_api.v1alpha1 import AlignmentJobSpec, Tokenizer
from alignment_api.v1alpha1.evaluation import Engine, Generation
from alignment_trainer import prepare
from alignment_trainer.data.rows import Role, message
from alignment_trainer.evaluation import engines
from alignment_trainer.evaluation.engines import vllm_engine
from alignment_trainer.evaluation.language_model import LanguageModel
from alignment_trainer.exceptions import ConfigurationError

from .conftest import JOB, Workspace

FIELD = "spec.stages[0].evaluate.generation.engine"
HAS_VLLM = importlib.util.find_spec("vllm") is not None


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed")
def test_without_vllm_transformers_generates() -> None:
    for wanted in (Engine.AUTO, Engine.TRANSFORMERS):
        assert engines.choose(wanted, has_gpu=True, field=FIELD) is Engine.TRANSFORMERS
    with pytest.raises(ConfigurationError, match="does not have it") as caught:
        engines.choose(Engine.VLLM, has_gpu=True, field=FIELD)
    assert caught.value.problems[0].field == FIELD


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed")
def test_prepare_refuses_an_engine_that_the_image_lacks(workspace: Workspace) -> None:
    tiny_model = {"volume": {"path": "models/tiny"}}
    stage = {
        "name": "check",
        "dataset": {"inline": {"rows": [{"prompt": "say red"}]}, "format": "prompts"},
        "evaluate": {
            "candidate": tiny_model,
            "baseline": tiny_model,
            "generation": {"engine": "vllm"},
            "judges": [{"name": "form", "heuristic": {}}],
        },
    }
    spec = AlignmentJobSpec.model_validate(
        {"workspace": {"persistentVolumeClaim": {"claimName": "w"}}, "stages": [stage]}
    )
    with pytest.raises(ConfigurationError) as caught:
        prepare.main(RunConfig(job=JOB, spec=spec), workspace.layout)
    assert [problem.field for problem in caught.value.problems] == [FIELD]
    assert not workspace.layout.prepared.exists()


def test_with_vllm_a_gpu_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert engines.choose(Engine.AUTO, has_gpu=True, field=FIELD) is Engine.VLLM
    assert engines.choose(Engine.AUTO, has_gpu=False, field=FIELD) is Engine.TRANSFORMERS
    assert engines.choose(Engine.TRANSFORMERS, has_gpu=True, field=FIELD) is Engine.TRANSFORMERS
    with pytest.raises(ConfigurationError, match="no GPU"):
        engines.choose(Engine.VLLM, has_gpu=False, field=FIELD)


def test_every_prompt_of_every_call_has_a_seed_of_its_own() -> None:
    settings = Generation(temperature=0.7, top_p=0.9, max_new_tokens=99, batch_size=4, seed=7)
    calls = vllm_engine.CALL_FACTOR * settings.batch_size
    options = [
        vllm_engine.sampling_options(settings, call, place, [3, 5]) for call in range(3) for place in range(calls)
    ]
    assert len({option["seed"] for option in options}) == 3 * calls
    assert options[0] == {
        "max_tokens": 99, "temperature": 0.7, "top_p": 0.9, "seed": 7, "stop_token_ids": [3, 5], "detokenize": False,
    }  # fmt: skip


def test_vllm_gets_the_batch_size_and_not_the_defaults_of_the_model() -> None:
    options = vllm_engine.engine_options("models/a", Generation(batch_size=32, seed=3))
    assert (options["model"], options["max_num_seqs"], options["seed"]) == ("models/a", 32, 3)
    assert options["generation_config"] == "vllm"
    assert options["trust_remote_code"] is False


@pytest.mark.parametrize(
    ("visible", "index", "own"), [(None, 2, "2"), ("4,5,6", 1, "5"), ("GPU-a,GPU-b", 1, "GPU-b"), ("", 0, "0")]
)
def test_vllms_process_sees_one_gpu_and_nothing_of_the_gang(visible: str | None, index: int, own: str) -> None:
    given = {"PATH": "/bin", "RANK": "2", "MASTER_ADDR": "a", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    if visible is not None:
        given["CUDA_VISIBLE_DEVICES"] = visible
    assert vllm_engine.engine_environment(given, index) == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": own}


@pytest.mark.skipif(not (HAS_VLLM and torch.cuda.is_available()), reason="needs vLLM and a GPU")
def test_vllm_answers_greedily_as_transformers_does(tiny_model: Path) -> None:
    settings = Generation(max_new_tokens=8)
    prompts = [(message(Role.USER, text),) for text in ("say red", "say a much longer thing about the river", "go")]
    device = torch.device("cuda", 0)
    theirs = LanguageModel(str(tiny_model), Tokenizer(), device).respond(prompts, settings, 0)
    assert vllm_engine.VllmEngine(str(tiny_model), Tokenizer(), settings, device).respond(prompts, 0) == theirs
