"""SFT by the real command line: like plain TRL, resumed like uninterrupted, and every choice of loss and adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alignment_api.v1alpha1 import Method

from . import tiny
from .conftest import Workspace, workspace_in
from .method_runs import (
    PLAIN,
    StageRun,
    check_finished,
    check_generates,
    check_resumed,
    check_same_metrics,
    cut_off_and_resume,
    plain_history,
    run_stage,
)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Workspace]:
    with workspace_in(tmp_path_factory.mktemp("sft"), tiny_model) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def sft(volume: Workspace) -> StageRun:
    rows = tiny.completion_rows(24)
    return run_stage(volume, Method.SFT, rows[4:], held_out=rows[:4])


def test_all_weights(sft: StageRun) -> None:
    check_finished(sft)
    check_generates(sft)


def test_equals_a_plain_trl_script(sft: StageRun, tmp_path: Path) -> None:
    plain = plain_history(sft, {"max_length": 1024, "completion_only_loss": True}, tmp_path)
    check_same_metrics(sft.history, plain, rel=PLAIN)


def test_resumed_equals_uninterrupted(sft: StageRun) -> None:
    check_resumed(sft, cut_off_and_resume(sft))
