"""DPO by the real command line with each kind of reference; runs without one are in test_checkpoints_resume."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_api.v1alpha1 import Method

from . import tiny
from .conftest import Workspace, workspace_in
from .method_checks import (
    PLAIN,
    RESUMED,
    check_finished,
    check_generates,
    check_merged,
    check_resumed,
    check_same_metrics,
)
from .method_runs import CHECKPOINT, LORA, StageRun, cut_off_and_resume, plain_history, run_stage

OTHER = "models/other"
REFERENCE = {"reference": {"volume": {"path": OTHER}}}
MIXTURE: dict[str, Any] = {
    "beta": 0.2,
    "loss": [{"type": "sigmoid", "weight": 0.8}, {"type": "sft", "weight": 0.3}],
    "divergence": {"type": "jsDivergence"},
    "lengthDesensitization": 0.5,
    "maxLength": 256,
    "truncation": "keepEnd",
}
ROWS = tiny.preference_rows(24)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("dpo"), tiny_model) as workspace:
        other = workspace.root / OTHER
        shutil.copytree(tiny_model, other)
        tiny.save_model(other, seed=1)
        yield workspace


@pytest.fixture(scope="module")
def held(volume: Workspace) -> StageRun:
    """A reference that is another model, held beside the policy; a mixture of losses."""
    return run_stage(volume, Method.DPO, ROWS, name="held", dpo=MIXTURE | REFERENCE)


def test_a_mixture_of_losses_with_another_reference_equals_plain_trl(held: StageRun, tmp_path: Path) -> None:
    check_finished(held)
    check_generates(held)
    options = {
        "beta": 0.2,
        "loss_type": ["sigmoid", "sft"],
        "loss_weights": [0.8, 0.3],
        "f_divergence_type": "js_divergence",
        "ld_alpha": 0.5,
        "max_length": 256,
        "truncation_mode": "keep_end",
    }
    plain = plain_history(held, options, tmp_path, reference=held.workspace.root / OTHER)
    check_same_metrics(held.history, plain, rel=PLAIN)


def test_a_precomputed_reference_gives_the_same_training(volume: Workspace, held: StageRun) -> None:
    dpo = MIXTURE | REFERENCE | {"precomputeReference": True}
    precomputed = run_stage(volume, Method.DPO, ROWS, name="precomputed", dpo=dpo)
    check_same_metrics(precomputed.history, held.history, rel=PLAIN)
    assert abs(held.history[1]["rewards/margins"]) > 1e-3, "the reference is another model"


def test_references_of_two_stages_on_the_same_rows_are_not_mixed_up(volume: Workspace, held: StageRun) -> None:
    own = run_stage(volume, Method.DPO, ROWS, name="own", dpo={"precomputeReference": True}, adapter=LORA)
    assert own.history[1]["rewards/margins"] == pytest.approx(0, abs=1e-6), "the reference is the starting model"
    check_merged(own)
    check_generates(own)
    other = run_stage(volume, Method.DPO, ROWS, name="lora", dpo=MIXTURE | REFERENCE, adapter=LORA)
    for name in ("loss", "rewards/chosen", "rewards/margins"):
        assert other.history[1][name] == pytest.approx(held.history[1][name], rel=PLAIN), "an adapter starts at 0"


def test_a_reference_that_follows_the_policy_is_resumed_where_it_was(volume: Workspace) -> None:
    dpo = {"syncReference": {"everySteps": 3, "mixup": 0.6}}
    run = run_stage(volume, Method.DPO, ROWS, name="following", dpo=dpo)
    resumed = cut_off_and_resume(run, CHECKPOINT)
    check_resumed(run, resumed, CHECKPOINT, RESUMED)
