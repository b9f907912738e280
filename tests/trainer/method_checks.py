"""What the runs of every method must show: finished, equal to another run, and a model that transformers loads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from alignment_api.contract import TrainerPhase

from .method_runs import CHECKPOINT, STEPS, StageRun, uninterrupted_model

RESUMED: Final = 1e-6
"""Relative tolerance of a resumed run: the same operations in the same order; only the text in the history rounds."""

PLAIN: Final = 1e-5
"""Relative tolerance to plain TRL: DeepSpeed may add up gradients in another order."""

_NOT_COMPARED: Final = frozenset({"time", "epoch", "step", "num_tokens", "step_time"})


def check_resumed(uninterrupted: StageRun, resumed: StageRun, step: int = CHECKPOINT, rel: float = RESUMED) -> None:
    """The attempt that resumed from ``step`` reports the same numbers and exports the same weights."""
    expected = {number: entry for number, entry in uninterrupted.history.items() if number > step}
    check_same_metrics(resumed.history, expected, rel=rel)
    assert resumed.summary.progress is not None
    assert uninterrupted.summary.progress is not None
    assert resumed.summary.progress.tokens == uninterrupted.summary.progress.tokens
    check_same_weights(resumed.model, uninterrupted_model(uninterrupted))


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


def _tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}
