"""Adapters of every kind, from the command line to the merged model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Adapter, Method
from alignment_trainer.models import adapter

from . import tiny
from .conftest import Workspace, stage_of
from .in_process import make_trainer
from .method_checks import check_finished, check_generates, check_merged
from .method_runs import LORA, ONE_PROCESS, run_stage

QUANTIZED = LORA | {"quantization": {}}


def test_lora_with_packing_and_loss_on_assistant_turns(workspace: Workspace) -> None:
    rows = tiny.conversation_rows(40)
    sft = {"maxLength": 64, "lossOn": "assistant", "packing": True}
    run = run_stage(workspace, Method.SFT, rows[4:], held_out=rows[:4], adapter=LORA, sft=sft)
    check_finished(run)
    check_merged(run)
    check_generates(run)


def test_rank_stabilized_dora_with_noisy_embeddings_and_gradient_checkpointing(workspace: Workspace) -> None:
    lora = {"rank": 4, "dora": True, "rankStabilized": True, "targetModules": ["q_proj", "up_proj"]}
    run = run_stage(
        workspace,
        Method.SFT,
        tiny.completion_rows(24),
        adapter={"lora": lora},
        sft={"neftuneNoiseAlpha": 5},
        training={"gradientCheckpointing": True},
    )
    check_finished(run)
    check_merged(run)
    check_generates(run)
    assert run.resolved["options"]["activation_checkpointing_kwargs"] == {
        "value": {"use_reentrant": True},
        "by": "default",
    }


def test_nf4_without_zero(workspace: Workspace) -> None:
    run = run_stage(workspace, Method.SFT, tiny.completion_rows(24), runtime=ONE_PROCESS, adapter=QUANTIZED)
    check_finished(run)
    check_merged(run)
    check_generates(run)


def test_nf4_on_a_cpu_with_zero_is_refused_with_the_way_out(workspace: Workspace) -> None:
    workspace.add_stage_data("sft", tiny.completion_rows(8))
    stage = stage_of(Method.SFT, adapter=QUANTIZED)
    job = workspace.write_job({"runtime": {"deepspeed": {"zeroStage": 3}}, "stages": [stage]})
    summary = workspace.run(job, "sft")
    assert summary.exit_code == ExitCode.CONFIGURATION_ERROR
    assert "set zeroStage to 0" in summary.problems[0].message


@pytest.mark.parametrize(
    ("lora", "scaling", "magnitudes"),
    [
        ({"rank": 16, "alpha": 32}, 2.0, False),
        ({"rank": 16, "alpha": 32, "rankStabilized": True}, 8.0, False),
        ({"rank": 16, "alpha": 32, "dora": True}, 2.0, True),
    ],
)
def test_what_peft_makes_of_an_adapter(
    tiny_model: Path, tmp_path: Path, lora: dict[str, Any], scaling: float, magnitudes: bool
) -> None:
    rows = tiny.completion_rows(4)
    model = make_trainer(Method.SFT, rows, tiny_model, tmp_path, adapter={"lora": lora}).model
    layers = {name: layer for name, layer in model.named_modules() if name.endswith("q_proj")}
    assert layers
    assert {layer.scaling["default"] for layer in layers.values()} == {scaling}
    assert any("lora_magnitude_vector" in name for name, _ in model.named_parameters()) is magnitudes
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert not any("lm_head" in name for name in trained), "all linear layers but the output head"


def test_the_output_head_takes_no_adapter() -> None:
    spec = Adapter.model_validate({"lora": {"targetModules": ["q_proj", "lm_head"]}})
    problems = adapter.check(spec, "spec.stages[0].adapter")
    assert [problem.field for problem in problems] == ["spec.stages[0].adapter.lora.targetModules"]
    assert "lm_head" in problems[0].message
