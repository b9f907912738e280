"""A volume that is full, read-only or not writable: what is said, what stays, and what the next attempt does."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method
from alignment_trainer import storage
from alignment_trainer.exceptions import StorageError

from . import tiny
from .conftest import TRAINING, Workspace, stage_of, workspace_in
from .method_runs import ONE_PROCESS, by_step

MIB = 1 << 20


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Path]:
    """A file system of its own, of ``size`` bytes, at ``folder``."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a file system here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave not a byte free; the file that takes it all."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(MIB))
        except OSError:
            pass
    return path


def save_with_torch(folder: Path) -> None:
    import torch

    torch.save({"state": torch.zeros(MIB)}, folder / "optimizer.pt")


def save_with_safetensors(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(MIB)}, folder / "model.safetensors")


def save_text(folder: Path) -> None:
    (folder / "trainer_state.json").write_text(" " * 2 * MIB)


def save_rows(folder: Path) -> None:
    from datasets import Dataset

    Dataset.from_dict({"text": ["long " * 1000] * 500}).save_to_disk(str(folder / "rows"))


def copy_a_file(folder: Path) -> None:
    """As DeepSpeed does with a script of its own; the error names the source first."""
    with tempfile.NamedTemporaryFile() as source:
        source.write(bytes(2 * MIB))
        source.flush()
        shutil.copy2(source.name, folder / "script.py")


WRITERS: dict[str, Callable[[Path], None]] = {
    "torch": save_with_torch,
    "safetensors": save_with_safetensors,
    "text": save_text,
    "datasets": save_rows,
    "copy": copy_a_file,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_library_says_that_the_volume_is_full(tmp_path: Path, writer: str) -> None:
    with (
        mounted(tmp_path / "volume", MIB) as volume,
        pytest.raises(StorageError) as caught,
        storage.explained(volume, lambda: 4321),
    ):
        WRITERS[writer](volume)
    message = str(caught.value)
    assert str(volume) in message
    assert "No space left on device" in message
    assert "bytes are free, and about 4321 are needed" in message
    assert "enlarge the volume" in message


@pytest.mark.parametrize("writer", WRITERS)
def test_every_library_says_that_the_volume_is_read_only(tmp_path: Path, writer: str) -> None:
    with mounted(tmp_path / "volume", 9 * MIB) as volume:
        remount(volume, "ro")
        words = r"Read-only file system .*mount the workspace for writing"
        with pytest.raises(StorageError, match=words), storage.explained(volume):
            WRITERS[writer](volume)


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    for parent in folder.parents:  # let the other user come this far
        if parent.is_relative_to(tmp_path.parents[1]):
            parent.chmod(0o755)
    os.seteuid(65534)
    try:
        words = r"cannot write \S+/theirs/file: Permission denied .*fsGroup"
        with pytest.raises(StorageError, match=words), storage.explained(tmp_path):
            (folder / "file").write_text("")
    finally:
        os.seteuid(0)


def test_errors_of_other_kinds_and_places_pass(tmp_path: Path) -> None:
    for error in (ValueError("a bad value"), FileNotFoundError(2, "gone", str(tmp_path / "x")), MemoryError()):
        with pytest.raises(type(error)), storage.explained(tmp_path):
            raise error
    with pytest.raises(PermissionError), storage.explained(tmp_path):
        raise PermissionError(13, "Permission denied", "/etc/shadow")


@contextmanager
def workspace_of(size: int, tmp_path: Path, model: Path) -> Iterator[Workspace]:
    """A workspace on a volume of ``size`` bytes, with a job's files as Prepare leaves them."""
    with mounted(tmp_path / "volume", size) as root, workspace_in(root, model) as volume:
        volume.outputs = tmp_path
        yield volume


def add_job(volume: Workspace, steps: int, every_steps: int, runtime: dict[str, object]) -> Path:
    volume.add_stage_data("sft", tiny.conversation_rows(32))
    training = TRAINING | {"maxSteps": steps, "checkpoint": {"everySteps": every_steps, "keep": 99}}
    return volume.write_job({"runtime": runtime, "stages": [stage_of(Method.SFT, training=training)]})


@pytest.mark.timeout(300)
def test_full_while_a_checkpoint_is_written(tmp_path: Path, tiny_model: Path) -> None:
    with workspace_of(12 * MIB, tmp_path, tiny_model) as volume:
        job = add_job(volume, steps=14, every_steps=1, runtime={"processesPerNode": 2})
        summary = volume.run(job, "sft")
        assert summary.exit_code == ExitCode.STORAGE_ERROR, volume.pods[-1].output.read_text()[-4000:]
        assert "No space left on device" in summary.message
        assert "are needed for a checkpoint" in summary.message
        checkpoints = volume.layout.stage("sft").attempt(1).checkpoints
        folders = list(checkpoints.glob("checkpoint-*"))
        assert folders
        assert all((folder / "complete.json").exists() for folder in folders), "the torn one gave its space back"
        last = max(int(folder.name.removeprefix("checkpoint-")) for folder in folders)
        assert summary.checkpoint is not None
        assert summary.checkpoint.step == last

        remount(volume.root, f"size={64 * MIB}")
        summary = volume.run(job, "sft", attempt=2, arguments=["--resume"])
        assert summary.exit_code == ExitCode.OK, volume.pods[-1].output.read_text()[-4000:]
        assert min(by_step(volume.metrics("sft", attempt=2))) == last + 1
        left = [path.name for path in volume.layout.stage("sft").root.glob("attempts/*/checkpoints/checkpoint-*")]
        assert left == ["checkpoint-14"], "a stage that has its model needs no more than one"


def test_full_while_metrics_are_written(tmp_path: Path, tiny_model: Path) -> None:
    with workspace_of(24 * MIB, tmp_path, tiny_model) as volume:
        pod = volume.start(add_job(volume, steps=5000, every_steps=5000, runtime=ONE_PROCESS), "sft")
        volume.wait_for_step("sft", 2)
        fill(volume.root)
        summary = pod.wait(120)
        assert summary.exit_code == ExitCode.STORAGE_ERROR, pod.output.read_text()[-4000:]
        assert "No space left on device (0 bytes are free" in summary.message
        assert "metrics.jsonl" in summary.message


def test_a_read_only_workspace(tmp_path: Path, tiny_model: Path) -> None:
    with workspace_of(24 * MIB, tmp_path, tiny_model) as volume:
        job = add_job(volume, steps=2, every_steps=2, runtime=ONE_PROCESS)
        remount(volume.root, "ro")
        summary = volume.run(job, "sft")
        assert summary.exit_code == ExitCode.STORAGE_ERROR, volume.pods[-1].output.read_text()[-4000:]
        assert "Read-only file system" in summary.message
