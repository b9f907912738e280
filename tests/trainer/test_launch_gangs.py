"""Real gangs on the CPU: every method under 2-process DeepSpeed ZeRO-3, from the command line to the exported model."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from alignment_api.contract import Summary, TrainerPhase
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method

from . import tiny
from .conftest import Workspace, stage_of

TWO_PROCESSES = {"processesPerNode": 2, "deepspeed": {"zeroStage": 3}}
ONE_PROCESS = {"deepspeed": {"zeroStage": 0}}
LORA: dict[str, Any] = {"lora": {"rank": 4}}


def run_stage(workspace: Workspace, method: Method, runtime: dict[str, Any], **overrides: Any) -> Summary:
    """Run one stage of ``method`` to its end."""
    rows = tiny.preference_rows(24)
    if method is Method.SFT:
        on_completion = overrides.get("sft", {}).get("lossOn") is None
        rows = tiny.completion_rows(24) if on_completion else tiny.conversation_rows(24)
    workspace.add_stage_data(method.value, rows[4:], held_out=rows[:4])
    job = workspace.write_job({"runtime": runtime, "stages": [stage_of(method, **overrides)]})
    summary = workspace.run(job, method.value)
    assert summary.exit_code == ExitCode.OK, summary.message
    return summary


def check_training(workspace: Workspace, summary: Summary, method: Method) -> None:
    """The numbers and files that every finished training stage has."""
    assert summary.progress is not None
    assert summary.checkpoint is not None
    assert summary.model is not None
    assert summary.progress.phase is TrainerPhase.FINISHED
    assert summary.progress.step == summary.progress.total_steps == 4
    assert summary.progress.tokens > 0
    assert summary.progress.tokens_per_second
    assert math.isfinite(summary.progress.metrics["loss"])
    assert math.isfinite(summary.progress.metrics["eval_loss"])
    assert summary.checkpoint.step == 4
    assert [entry["step"] for entry in workspace.metrics(method.value) if "loss" in entry] == [1, 2, 3, 4]
    model = workspace.root / summary.model.path
    assert (model / "complete.json").is_file()
    assert list(model.rglob("*.bin")) == []
    assert sorted(path.name for path in workspace.layout.stage(method.value).attempt(1).checkpoints.iterdir()) == [
        "README.md",
        "checkpoint-2",
        "checkpoint-4",
    ]


def merged_equals_adapter(workspace: Workspace, summary: Summary) -> None:
    """The merged model gives the outputs of base and adapter together, and they differ from the base's."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert summary.model is not None
    assert summary.model.adapter_path is not None
    base = AutoModelForCausalLM.from_pretrained(workspace.root / "models" / "tiny")
    merged = AutoModelForCausalLM.from_pretrained(workspace.root / summary.model.path)
    tokens = torch.arange(10).unsqueeze(0)
    with torch.no_grad():
        before = base(tokens).logits
        after = PeftModel.from_pretrained(base, str(workspace.root / summary.model.adapter_path))(tokens).logits
        torch.testing.assert_close(merged(tokens).logits, after, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(before, after, atol=1e-3)


def test_sft_of_all_weights(workspace: Workspace) -> None:
    summary = run_stage(workspace, Method.SFT, TWO_PROCESSES)
    check_training(workspace, summary, Method.SFT)
    resolved = json.loads(workspace.layout.stage("sft").attempt(1).resolved.read_text())
    assert resolved["options"]["gradient_accumulation_steps"] == {"value": 1, "by": "training.globalBatchSize"}
    assert resolved["options"]["learning_rate"] == {"value": 1e-3, "by": "training.learningRate"}


def test_sft_lora_with_packing_and_loss_on_assistant_turns(workspace: Workspace) -> None:
    sft = {"maxLength": 64, "lossOn": "assistant", "packing": True}
    summary = run_stage(workspace, Method.SFT, TWO_PROCESSES, adapter=LORA, sft=sft)
    check_training(workspace, summary, Method.SFT)
    merged_equals_adapter(workspace, summary)


def test_sft_nf4_without_zero(workspace: Workspace) -> None:
    summary = run_stage(workspace, Method.SFT, ONE_PROCESS, adapter=LORA | {"quantization": {}})
    check_training(workspace, summary, Method.SFT)
    merged_equals_adapter(workspace, summary)


def test_reward_model(workspace: Workspace) -> None:
    from transformers import AutoModelForSequenceClassification

    summary = run_stage(workspace, Method.REWARD, TWO_PROCESSES)
    check_training(workspace, summary, Method.REWARD)
    assert summary.model is not None
    model = AutoModelForSequenceClassification.from_pretrained(workspace.root / summary.model.path)
    assert model.config.num_labels == 1


def test_dpo_lora_with_a_precomputed_reference(workspace: Workspace) -> None:
    summary = run_stage(workspace, Method.DPO, TWO_PROCESSES, adapter=LORA, dpo={"precomputeReference": True})
    check_training(workspace, summary, Method.DPO)
    merged_equals_adapter(workspace, summary)
    first = workspace.metrics("dpo")[0]
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-5), "the reference is the starting model"


def test_nf4_on_a_cpu_with_zero_is_refused_with_the_way_out(workspace: Workspace) -> None:
    workspace.add_stage_data("sft", tiny.completion_rows(8))
    stage = stage_of(Method.SFT, adapter=LORA | {"quantization": {}})
    job = workspace.write_job({"runtime": {"deepspeed": {"zeroStage": 3}}, "stages": [stage]})
    summary = workspace.run(job, "sft")
    assert summary.exit_code == ExitCode.CONFIGURATION_ERROR
    assert "set zeroStage to 0" in summary.problems[0].message
