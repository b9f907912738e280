"""ORPO, CPO and SimPO by the real command line: like plain TRL, resumed like uninterrupted; SimPO with an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from alignment_api.v1alpha1 import Method

from . import tiny
from .conftest import workspace_in
from .method_runs import (
    LORA,
    PLAIN,
    PLAIN_OPTIONS,
    StageRun,
    by_step,
    check_finished,
    check_generates,
    check_resumed,
    check_same_metrics,
    cut_off_and_resume,
    run_stage,
)
from .plain_run import run_plain

METHODS: Final[dict[Method, dict[str, Any]]] = {
    Method.ORPO: {"orpo": {"beta": 0.2}},
    Method.CPO: {"cpo": {"labelSmoothing": 0.1}},
    Method.SIMPO: {"simpo": {"gamma": 0.5}, "adapter": LORA, "training": {"gradientCheckpointing": True}},
}
PLAIN_TRL: Final[dict[Method, dict[str, Any]]] = {
    Method.ORPO: {"beta": 0.2},
    Method.CPO: {"label_smoothing": 0.1},
    Method.SIMPO: {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 0.5, "cpo_alpha": 0.0},
}
PLAIN_LORA: Final = {"r": 4, "lora_alpha": 32, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


@pytest.fixture(scope="module", params=list(METHODS))
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> Iterator[StageRun]:
    method: Method = request.param
    rows = tiny.preference_rows(28)
    with workspace_in(tmp_path_factory.mktemp(method.value), tiny_model) as workspace:
        yield run_stage(workspace, method, rows[4:], held_out=rows[:4], **METHODS[method])


def test_it_trains_and_the_model_generates(run: StageRun) -> None:
    check_finished(run)
    check_generates(run)
    assert "experimental" not in run.output, "the notice is for those who choose a version"


def test_resumed_equals_uninterrupted(run: StageRun) -> None:
    check_resumed(run, cut_off_and_resume(run))


def test_equals_a_plain_trl_script(run: StageRun, tmp_path: Path) -> None:
    volume = run.workspace
    plain = run_plain(
        run.method,
        volume.root / "models/tiny",
        volume.layout.stage(run.name).data / "train",
        PLAIN_OPTIONS | PLAIN_TRL[run.method],
        tmp_path,
        lora=PLAIN_LORA if "adapter" in METHODS[run.method] else None,
    )
    check_same_metrics(run.history, by_step(plain), rel=PLAIN)
