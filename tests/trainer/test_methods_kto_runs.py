"""KTO by the real command line: like plain TRL, resumed like uninterrupted, with either reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alignment_api.v1alpha1 import Method

from . import tiny
from .conftest import Workspace, workspace_in
from .method_checks import PLAIN, check_finished, check_generates, check_resumed, check_same_metrics
from .method_runs import PLAIN_OPTIONS, StageRun, by_step, cut_off_and_resume, run_stage
from .plain_run import run_plain


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("kto"), tiny_model) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def kto(volume: Workspace) -> StageRun:
    rows = tiny.labelled_rows(28)
    return run_stage(volume, Method.KTO, rows[4:], held_out=rows[:4])


def test_all_weights(kto: StageRun) -> None:
    check_finished(kto)
    check_generates(kto)
    assert kto.history[1]["kl"] == kto.history[1]["rewards/chosen"] == 0
    options = kto.resolved["options"]
    assert (options["desirable_weight"]["value"], options["undesirable_weight"]["value"]) == (1, 3)


def test_resumed_equals_uninterrupted(kto: StageRun) -> None:
    check_resumed(kto, cut_off_and_resume(kto))


def test_equals_a_plain_trl_script(kto: StageRun, tmp_path: Path) -> None:
    from datasets import load_from_disk

    rows = load_from_disk(str(kto.workspace.layout.stage(kto.name).data / "train"))
    shuffled = tmp_path / "rows"
    rows.shuffle(seed=42).save_to_disk(str(shuffled))
    options = PLAIN_OPTIONS | {"desirable_weight": 1.0, "undesirable_weight": 3.0}
    plain = by_step(run_plain(Method.KTO, kto.workspace.root / "models/tiny", shuffled, options, tmp_path))
    check_same_metrics(kto.history, plain, rel=PLAIN)
