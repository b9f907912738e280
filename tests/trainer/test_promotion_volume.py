"""Promotion to a folder of the workspace: what is written, replaced, refused and kept, and by whom it is read."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from alignment_api.contract import JobLayout, JobReference, RunConfig
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.model import VolumeModel
from alignment_trainer import base_models, completion, prepare, storage
from alignment_trainer.exceptions import ConfigurationError, Preempted, StorageError, TrainerError
from alignment_trainer.models.export import ModelMarker
from alignment_trainer.promotion.run import promote

from .conftest import JOB, TRAINING, Workspace
from .promotion_kills import promote_killed_at
from .promotions import FinishedJob
from .test_storage import MIB, fill, mounted

PLACE = {"volume": {"path": "models/assistant"}}
FILES = ["README.md", "complete.json", "config.json", "lineage.json", "model.safetensors"]


def other_job(job: FinishedJob, exported: Path, number: int) -> FinishedJob:
    """Another job in the same workspace."""
    reference = JobReference(namespace="team", name=f"other-{number}", uid=f"{number:08d}-1")
    return FinishedJob(job.layout.workspace, exported, exported, reference)


def seen(folder: Path) -> dict[str, bytes]:
    """All that a reader finds below a folder that it resolves once."""
    real = folder.resolve()
    return {path.relative_to(real).as_posix(): path.read_bytes() for path in real.rglob("*") if path.is_file()}


def test_the_model_is_there_with_card_and_lineage_and_outlives_the_job(job: FinishedJob) -> None:
    result = promote(job.config(PLACE), job.layout, 1).promotion
    assert result is not None
    assert result.locations == ["models/assistant"]
    assert result.lineage == job.layout.relative(job.layout.lineage)
    target = job.layout.workspace / "models/assistant"
    weights = job.trained.model / "model.safetensors"
    assert (target / "model.safetensors").samefile(weights)
    assert not (target / "adapter").exists()
    before = seen(target)
    assert set(FILES) <= set(before)
    assert before["lineage.json"] == job.layout.lineage.read_bytes()
    marker = completion.glance_at(target, ModelMarker)
    assert marker.digest == result.model.digest
    assert set(marker.files) == set(before) - {"complete.json"}
    shutil.rmtree(job.layout.root)
    assert seen(target) == before


def test_a_volume_without_hard_links_gets_copies(job: FinishedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    promote(job.config(PLACE), job.layout, 1)
    weights = job.layout.workspace / "models/assistant/model.safetensors"
    assert not weights.samefile(job.trained.model / "model.safetensors")
    assert weights.read_bytes() == (job.trained.model / "model.safetensors").read_bytes()


def test_a_promotion_that_is_tried_again_changes_nothing(job: FinishedJob) -> None:
    promote(job.config(PLACE), job.layout, 1)
    target = job.layout.workspace / "models/assistant"
    before, version = seen(target), target.resolve()
    promote(job.config(PLACE), job.layout, 2)
    assert seen(target) == before
    assert target.resolve() == version


def test_the_version_before_is_kept_and_the_one_before_that_removed(job: FinishedJob, exported: Path) -> None:
    target = job.layout.workspace / "models/assistant"
    versions = []
    for number in range(4):
        one = other_job(job, exported, number)
        promote(one.config(PLACE), one.layout, 1)
        versions.append(target.resolve())
        assert [version.exists() for version in versions] == [number - i < 2 for i in range(number + 1)]
    assert sorted(path.name for path in target.resolve().parent.iterdir()) == sorted(v.name for v in versions[2:])


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "foreign link", "dangling link"])
def test_what_no_promotion_wrote_is_not_touched(job: FinishedJob, kind: str) -> None:
    target = job.layout.workspace / "models/assistant"
    target.parent.mkdir()
    match kind:
        case "folder":
            target.mkdir()
            (target / "model.safetensors").write_text("mine")
        case "empty folder":
            target.mkdir()
        case "file":
            target.write_text("mine")
        case "foreign link":
            (target.parent / "mine").mkdir()
            target.symlink_to("mine")
        case _:
            target.symlink_to("nowhere")
    with pytest.raises(ConfigurationError, match="was not written by a promotion: choose another path") as caught:
        promote(job.config(PLACE), job.layout, 1)
    assert [problem.field for problem in caught.value.problems] == ["spec.promotion.to[0].volume.path"]
    assert not list(target.parent.glob(".assistant*"))


def test_prepare_refuses_a_place_before_anything_is_trained(workspace: Workspace) -> None:
    (workspace.root / "mine").mkdir()
    stage = {"name": "sft", "dataset": {"inline": {"rows": [{"prompt": "p", "completion": "c"}] * 4}}, "sft": {}}
    check = {
        "name": "check",
        "dataset": {"inline": {"rows": [{"prompt": "p"}] * 4}},
        "evaluate": {
            "candidate": {"fromStage": "sft"},
            "baseline": {"volume": {"path": "models/tiny"}},
            "judges": [{"name": "form", "heuristic": {}}],
            "gates": [{"metric": "winRate", "atLeast": 0.5}],
        },
    }
    content = {
        "model": {"volume": {"path": "models/tiny"}},
        "workspace": {"persistentVolumeClaim": {"claimName": "w"}},
        "stages": [stage | {"training": TRAINING}, check],
        "promotion": {"to": [{"volume": {"path": "mine"}}, {"volume": {"path": "free"}}]},
    }
    config = RunConfig(job=JOB, spec=AlignmentJobSpec.model_validate(content))
    with pytest.raises(TrainerError) as caught:
        prepare.main(config, workspace.layout)
    assert [problem.field for problem in caught.value.problems] == ["spec.promotion.to[0].volume.path"]


def test_a_job_that_starts_from_a_promoted_model_keeps_its_version(job: FinishedJob, exported: Path) -> None:
    promote(job.config(PLACE), job.layout, 1)
    model = VolumeModel(path="models/assistant")
    folder = base_models.fetch(model, job.layout, "spec.model")
    other = other_job(job, exported, 1)
    promote(other.config(PLACE), other.layout, 1)
    assert folder.is_relative_to(job.layout.workspace)
    assert seen(folder)["lineage.json"] == job.layout.lineage.read_bytes()
    assert base_models.fetch(model, job.layout, "spec.model") != folder


def test_a_full_volume_shows_the_old_model(
    job: FinishedJob, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(tmp_path / "small", 4 * MIB) as volume:
        layout = JobLayout(volume, job.layout.job)
        there = FinishedJob(volume, exported, exported)
        promote(there.config(PLACE), layout, 1)
        old = seen(volume / "models/assistant")

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)  # so that the next one needs space
        filler = fill(volume)
        with pytest.raises(StorageError, match="No space left on device"), storage.explained(volume):
            promote(there.config(PLACE, artifact="adapter"), layout, 2)
        assert seen(volume / "models/assistant") == old
        filler.unlink()
        promote(there.config(PLACE, artifact="adapter"), layout, 3)
        assert "adapter_model.safetensors" in seen(volume / "models/assistant")


def test_told_to_stop_it_stops_at_once(job: FinishedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise Preempted("told to stop")

    monkeypatch.setattr(os, "link", stop)
    with pytest.raises(Preempted):
        promote(job.config(PLACE, {"volume": {"path": "models/second"}}), job.layout, 1)
    assert not (job.layout.workspace / "models/second").is_symlink()


def test_a_path_below_a_file_is_refused(job: FinishedJob) -> None:
    (job.layout.workspace / "models").write_text("a file")
    with pytest.raises(ConfigurationError, match="lies below a file") as caught:
        promote(job.config(PLACE), job.layout, 1)
    assert [problem.field for problem in caught.value.problems] == ["spec.promotion.to[0].volume.path"]


def test_a_volume_without_symbolic_links_is_refused(job: FinishedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(ConfigurationError, match="has no symbolic links"):
        promote(job.config(PLACE), job.layout, 1)


@pytest.mark.parametrize("damage", ["bit", "truncated", "missing"])
def test_a_damaged_model_is_not_promoted(job: FinishedJob, damage: str) -> None:
    path = job.trained.model / "model.safetensors"
    content = bytearray(path.read_bytes())
    match damage:
        case "bit":
            content[-1] ^= 1
            path.write_bytes(content)
        case "truncated":
            path.write_bytes(content[:-10])
        case _:
            path.unlink()
    with pytest.raises(StorageError, match=r"is damaged: .*model\.safetensors"):
        promote(job.config(PLACE), job.layout, 1)
    assert not (job.layout.workspace / "models/assistant").exists()


def test_a_damaged_version_is_written_anew(job: FinishedJob) -> None:
    promote(job.config(PLACE), job.layout, 1)
    target = job.layout.workspace / "models/assistant"
    before = seen(target)
    (target / "README.md").write_text("overwritten")
    promote(job.config(PLACE), job.layout, 2)
    assert seen(target) == before


def test_killed_at_every_step_it_shows_old_or_new_and_the_next_attempt_finishes(
    job: FinishedJob, exported: Path
) -> None:
    first = other_job(job, exported, 1)
    promote(first.config(PLACE), first.layout, 1)
    target, config = job.layout.workspace / "models/assistant", job.config(PLACE)
    old = seen(target)
    promote(config, job.layout, 1)
    new, version = seen(target), target.resolve()
    found, step = [], 1
    while True:
        promote(first.config(PLACE), first.layout, 1)  # back to the old one, as if there had never been another
        shutil.rmtree(version)
        assert seen(target) == old
        if not promote_killed_at(config, job.layout.workspace, step):
            break
        found.append(seen(target))
        assert found[-1] in (old, new)
        promote(config, job.layout, 2)
        assert seen(target) == new
        assert len(list(version.parent.iterdir())) == 2
        assert sorted(path.name for path in target.parent.iterdir()) == [".assistant.versions", "assistant"]
        step += 1
    assert step > 20
    assert old in found


def test_readers_never_see_a_mixture(job: FinishedJob, exported: Path) -> None:
    """Readers resolve the link, and read card, lineage and weights of what they found while it is replaced."""
    jobs = [job, other_job(job, exported, 1)]
    wanted = []
    target = job.layout.workspace / "models/assistant"
    for one in jobs:
        promote(one.config(PLACE), one.layout, 1)
        wanted.append(seen(target))
    over, found, errors = threading.Event(), [0, 0], list[str]()

    def read() -> None:
        while not over.is_set():
            try:
                content = seen(target)
            except OSError as error:
                errors.append(f"nothing to read: {error}")
                return
            if content not in wanted:
                errors.append("a mixture")
                return
            found[wanted.index(content)] += 1

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(30):
        one = jobs[number % 2]
        promote(one.config(PLACE), one.layout, number + 2)
    over.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert min(found) > 10
