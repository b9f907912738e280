"""ORPO, CPO and SimPO by the real command line: like plain TRL, resumed like uninterrupted; SimPO with an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from alignment_api.v1alpha1 import Method

from . import plain_run, tiny
from .conftest import workspace_in
from .method_checks import PLAIN, check_finished, check_generates, check_resumed, check_same_metrics
from .method_runs import LORA, PLAIN_OPTIONS, StageRun, by_step, cut_off_and_resume, run_stage

ROWS: Final = tiny.preference_rows(28)
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


Histories = dict[Method, dict[int, dict[str, Any]]]


@pytest.fixture(scope="module", params=list(METHODS))
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> Iterator[StageRun]:
    method: Method = request.param
    with workspace_in(tmp_path_factory.mktemp(method.value), tiny_model) as workspace:
        yield run_stage(workspace, method, ROWS[4:], held_out=ROWS[:4], **METHODS[method])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Histories:
    """What plain TRL scripts report on the same rows, by method and step."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("plain")
    rows = folder / "rows"
    Dataset.from_list(ROWS[4:]).save_to_disk(str(rows))
    runs = []
    for method, options in PLAIN_TRL.items():
        lora = PLAIN_LORA if "adapter" in METHODS[method] else None
        runs.append(plain_run.arguments(method, tiny_model, rows, PLAIN_OPTIONS | options, folder, lora=lora))
    return dict(zip(PLAIN_TRL, map(by_step, plain_run.launch(runs, folder)), strict=True))


def test_it_trains_and_the_model_generates(run: StageRun) -> None:
    check_finished(run)
    check_generates(run)
    assert "experimental" not in run.output, "the notice is for those who choose a version"


def test_equals_a_plain_trl_script(run: StageRun, plain: Histories) -> None:
    check_same_metrics(run.history, plain[run.method], rel=PLAIN)


def test_resumed_equals_uninterrupted(run: StageRun) -> None:
    check_resumed(run, cut_off_and_resume(run))
