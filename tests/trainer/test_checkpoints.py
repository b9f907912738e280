"""Which checkpoints count, which one is resumed from, which are removed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alignment_api.contract import JobLayout, StageLayout
from alignment_trainer import checkpoints, gang_digests, resume
from alignment_trainer.attempt import Attempt
from alignment_trainer.completion import GLANCE_LIMIT, entry_of, list_files, write_marker
from alignment_trainer.exceptions import CheckpointError
from alignment_trainer.models.export import ModelMarker, publish

from .conftest import JOB

OPTIMIZER = "global_step/zero_pp_rank_0_mp_rank_00_optim_states.pt"


@pytest.fixture
def layout(tmp_path: Path) -> JobLayout:
    return JobLayout(workspace=tmp_path, job=JOB)


@pytest.fixture
def stage(layout: JobLayout) -> StageLayout:
    return layout.stage("dpo")


def save(stage: StageLayout, attempt: int, step: int, *, finish: bool = True) -> Path:
    folder = stage.attempt(attempt).checkpoints / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    (folder / "trainer_state.json").write_text("{}")
    with (folder / OPTIMIZER).open("wb") as file:
        file.truncate(GLANCE_LIMIT + 1)
    if finish:
        checkpoints.complete(folder, list_files(folder), step=step, tokens=step * 100)
    return folder


def flip_a_bit(path: Path) -> None:
    """Change one bit in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0x10]))


def choose(layout: JobLayout, attempt: int, *, resumes: bool = False) -> resume.Choice:
    from accelerate import PartialState

    return resume.choose(layout, Attempt("dpo", attempt, resumes=resumes), PartialState(cpu=True))


def chosen_step(layout: JobLayout, attempt: int) -> int | None:
    checkpoint = choose(layout, attempt).checkpoint
    return checkpoint.marker.step if checkpoint else None


def test_the_most_steps_of_all_attempts_win(layout: JobLayout, stage: StageLayout) -> None:
    save(stage, 1, 20)
    save(stage, 2, 10)
    found = choose(layout, 3).checkpoint
    assert found is not None
    assert (found.marker.step, found.marker.tokens) == (20, 2000)


def test_of_equal_steps_the_latest_attempt_wins(layout: JobLayout, stage: StageLayout) -> None:
    save(stage, 1, 10)
    latest = save(stage, 2, 10)
    found = choose(layout, 2).checkpoint
    assert found is not None
    assert found.folder == latest


def test_attempts_yet_to_come_are_not_looked_at(layout: JobLayout, stage: StageLayout) -> None:
    save(stage, 2, 10)
    assert choose(layout, 1).checkpoint is None


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: (folder / OPTIMIZER).unlink(), "is missing"),
    "truncated": (lambda folder: (folder / OPTIMIZER).write_bytes(b""), "has 0 bytes, not 1048577"),
    "flipped bit in a large file": (lambda folder: flip_a_bit(folder / OPTIMIZER), "is altered"),
    "flipped bit in a small file": (lambda folder: flip_a_bit(folder / "trainer_state.json"), "is altered"),
    "garbled marker": (lambda folder: (folder / "complete.json").write_text("{"), "marker is garbled"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_makes_an_older_one_be_used(
    layout: JobLayout, stage: StageLayout, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole, torn = save(stage, 1, 10), save(stage, 1, 20)
    harm, words = DAMAGES[damage]
    harm(torn)
    choice = choose(layout, 2, resumes=True)
    assert choice.checkpoint is not None
    assert choice.checkpoint.folder == whole
    assert choice.damaged == (torn,)
    assert f"skipping {torn}: " in caplog.text
    assert words in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_silent_start_from_zero(layout: JobLayout, stage: StageLayout, damage: str) -> None:
    only, never = save(stage, 1, 10), save(stage, 2, 20, finish=False)
    harm, words = DAMAGES[damage]
    harm(only)
    with pytest.raises(CheckpointError) as caught:
        choose(layout, 3)
    message = str(caught.value)
    assert words in message
    assert f"{layout.relative(never)}: it was never completed" in message
    assert layout.relative(only) in message
    assert "new AlignmentJob" in message


def test_a_checkpoint_that_is_known_of_must_be_there(layout: JobLayout, stage: StageLayout) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint is there any more"):
        choose(layout, 2, resumes=True)


def test_a_folder_that_was_never_completed_is_no_loss(layout: JobLayout, stage: StageLayout) -> None:
    save(stage, 1, 10, finish=False)
    assert choose(layout, 2).checkpoint is None


def test_every_file_is_read_by_one_process() -> None:
    sizes = {f"global_step9/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt": 100 for rank in range(4)}
    sizes |= {f"rng_state_{rank}.pth": 3 for rank in range(4)} | {"a.safetensors": 60, "b.safetensors": 50, "c": 1}
    shares = [gang_digests.share_of(sizes, rank, 3) for rank in range(3)]
    assert sorted(name for share in shares for name in share) == sorted(sizes)
    assert all(f"rng_state_{rank}.pth" in shares[rank % 3] for rank in range(4)), "each reads what it loads"
    assert {"a.safetensors", "b.safetensors"}.isdisjoint(shares[0]), "the others get what is left"


def names(stage: StageLayout, attempt: int) -> list[str]:
    return sorted(path.name for path in stage.attempt(attempt).checkpoints.iterdir())


def test_rotation_keeps_the_newest_complete_ones_of_all_attempts(stage: StageLayout) -> None:
    for step in (5, 10, 15, 20):
        save(stage, 1, step, finish=step != 10)
    save(stage, 2, 18)
    checkpoints.rotate(stage, 2, keep=3)
    assert names(stage, 1) == ["checkpoint-15", "checkpoint-20"]
    assert names(stage, 2) == ["checkpoint-18"]
    save(stage, 2, 21)
    save(stage, 2, 24, finish=False)
    checkpoints.rotate(stage, 2, keep=2)
    assert names(stage, 1) == []
    assert names(stage, 2) == ["checkpoint-18", "checkpoint-21", "checkpoint-24"]


def test_damaged_checkpoints_do_not_count_as_kept(layout: JobLayout, stage: StageLayout) -> None:
    save(stage, 1, 10)
    flip_a_bit(save(stage, 1, 20) / OPTIMIZER)
    damaged = choose(layout, 2).damaged
    save(stage, 2, 15)
    checkpoints.rotate(stage, 2, keep=2, damaged=damaged)
    flip_a_bit(stage.attempt(2).checkpoints / "checkpoint-15" / OPTIMIZER)
    assert chosen_step(layout, 2) == 10, "a whole one was kept beside the attempt's own"


def test_an_attempt_that_was_replaced_removes_nothing(stage: StageLayout) -> None:
    for step in (10, 20, 30):
        save(stage, 1, step)
    stage.attempt(3).root.mkdir(parents=True)  # attempt 2 never came as far as the volume
    checkpoints.rotate(stage, 1, keep=1)
    assert len(names(stage, 1)) == 3


def test_what_killed_attempts_left_half_written_is_removed(stage: StageLayout) -> None:
    save(stage, 1, 10)
    save(stage, 1, 20, finish=False)
    (stage.attempt(2).resharded / "checkpoint-10").mkdir(parents=True)
    save(stage, 3, 20, finish=False)
    checkpoints.remove_abandoned(stage, 3)
    assert names(stage, 1) == ["checkpoint-10"]
    assert not stage.attempt(2).resharded.exists()
    assert names(stage, 3) == ["checkpoint-20"], "the attempt's own are being written"


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


def test_digests_tell_files_apart(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(bytes(5_000_000))
    shutil.copy(first, second)
    assert entry_of(first) == entry_of(second)
    flip_a_bit(second)
    assert entry_of(first) != entry_of(second)
