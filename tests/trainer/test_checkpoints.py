"""Which checkpoints count, which one is resumed from, which are removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment_api.contract import JobLayout, StageLayout
from alignment_trainer import checkpoints
from alignment_trainer.completion import DIGEST_LIMIT, list_files, write_marker
from alignment_trainer.models.export import ModelMarker, publish

from .conftest import JOB


@pytest.fixture
def stage(tmp_path: Path) -> StageLayout:
    return JobLayout(workspace=tmp_path, job=JOB).stage("dpo")


def save(stage: StageLayout, attempt: int, step: int, *, finish: bool = True) -> Path:
    folder = stage.attempt(attempt).checkpoints / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    (folder / "trainer_state.json").write_text("{}")
    with (folder / "global_step" / "optimizer.pt").open("wb") as file:
        file.truncate(DIGEST_LIMIT + 1)
    if finish:
        checkpoints.complete(folder, step=step, tokens=step * 100)
    return folder


def test_the_most_steps_of_all_attempts_win(stage: StageLayout) -> None:
    save(stage, 1, 20)
    save(stage, 2, 10)
    newest = checkpoints.newest(stage, 3)
    assert newest is not None
    assert (newest.marker.step, newest.marker.tokens) == (20, 2000)


def test_of_equal_steps_the_latest_attempt_wins(stage: StageLayout) -> None:
    save(stage, 1, 10)
    latest = save(stage, 2, 10)
    newest = checkpoints.newest(stage, 2)
    assert newest is not None
    assert newest.folder == latest


def test_attempts_yet_to_come_are_not_looked_at(stage: StageLayout) -> None:
    save(stage, 2, 10)
    assert checkpoints.newest(stage, 1) is None


@pytest.mark.parametrize("damage", ["unmarked", "missing", "truncated", "altered", "garbled marker"])
def test_a_torn_checkpoint_is_skipped(stage: StageLayout, damage: str) -> None:
    whole = save(stage, 1, 10)
    torn = save(stage, 1, 20, finish=damage != "unmarked")
    if damage == "missing":
        (torn / "global_step" / "optimizer.pt").unlink()
    elif damage == "truncated":
        (torn / "global_step" / "optimizer.pt").write_bytes(b"")
    elif damage == "altered":
        (torn / "trainer_state.json").write_text("[]")
    elif damage == "garbled marker":
        (torn / "complete.json").write_text("{")
    newest = checkpoints.newest(stage, 1)
    assert newest is not None
    assert newest.folder == whole


def test_rotation_keeps_the_newest_complete_ones(stage: StageLayout) -> None:
    for step in (5, 10, 15, 20):
        save(stage, 1, step, finish=step != 10)
    save(stage, 1, 25, finish=False)
    root = stage.attempt(1).checkpoints
    checkpoints.rotate(root, keep=2)
    assert sorted(path.name for path in root.iterdir()) == ["checkpoint-15", "checkpoint-20", "checkpoint-25"]


def test_the_first_model_published_stays(tmp_path: Path) -> None:
    target = tmp_path / "model"
    markers = {}
    for attempt in ("first", "late"):
        building = tmp_path / attempt
        building.mkdir()
        (building / "model.safetensors").write_text(attempt)
        markers[attempt] = ModelMarker(files=list_files(building), digest=attempt)
        write_marker(building, markers[attempt])
        assert publish(building, target, markers[attempt]) == markers["first"]
        assert not building.exists()
    assert (target / "model.safetensors").read_text() == "first"


def test_a_model_is_not_published_over_something_else(tmp_path: Path) -> None:
    building, target = tmp_path / "building", tmp_path / "model"
    for folder in (building, target):
        folder.mkdir()
        (folder / "file").touch()
    with pytest.raises(OSError, match="not empty"):
        publish(building, target, ModelMarker(files={}, digest=""))
