"""Going on with another number of processes: DeepSpeed's universal checkpoints (arXiv:2406.18820).

A checkpoint of ZeRO holds one partition for each process, and only as many processes can load it. Converted to whole
tensors, any number can. The conversion lies in the attempt's own folder and is removed once it is loaded; the
checkpoint stays as it is, so that a later attempt can take it in its own size again.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import PartialState
from transformers import TrainerCallback

from alignment_api.exit_codes import ExitCode

from .checkpoints import Checkpoint
from .distributed import agree
from .exceptions import CheckpointError, StorageError
from .failures.classify import of_text
from .files import link_or_copy

_log = logging.getLogger(__name__)
_CONVERTER: Final = "deepspeed.checkpoint.ds_to_universal"
_STATES: Final = "global_step*"
_POLL_SECONDS: Final = 1.0
_LAST_WORDS: Final = 600
_OF_THE_GANG: Final = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def reshard(checkpoint: Checkpoint, folder: Path, process: PartialState) -> Path:
    """A copy of a DeepSpeed checkpoint that any number of processes can load; every process must call this.

    Args:
        checkpoint: what to convert.
        folder: where the copy goes; what lies there is replaced.
        process: this process.

    Returns:
        The copy.

    Raises:
        CheckpointError: DeepSpeed cannot convert it.
        StorageError: the volume has no room for the copy.
    """
    copy = folder / checkpoint.folder.name
    conversion = _Conversion(checkpoint, copy) if process.is_main_process else None
    # Short collectives: the conversion of a large model takes longer than a peer may be waited for.
    while (ended := agree(conversion.poll() if conversion else None)) is None:
        pass
    if ended:
        error = StorageError if of_text(ended) is ExitCode.STORAGE_ERROR else CheckpointError
        raise error(
            f"{checkpoint.folder} was written by {checkpoint.marker.processes} processes and cannot be converted for "
            f"{process.num_processes}: {ended}. It stays as it is, for a gang of its own size"
        )
    return copy


def load_universally(trainer: Any, folder: Path) -> None:
    """Let ``trainer`` take its checkpoint for a universal one when it resumes.

    Args:
        trainer: a trainer that has not begun.
        folder: removed once training begins.
    """
    trainer.accelerator.state.deepspeed_plugin.deepspeed_config["checkpoint"] = {"load_universal": True}
    trainer.add_callback(_AfterLoading(folder))


class _Conversion:
    """DeepSpeed's converter in a process of its own; on rank 0."""

    def __init__(self, checkpoint: Checkpoint, copy: Path) -> None:
        self._copy = copy
        self._began = time.monotonic()
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        source = next(checkpoint.folder.glob(_STATES))
        for path in checkpoint.folder.iterdir():
            if path.is_file():
                link_or_copy(path, copy / path.name)
        self._output = copy.with_suffix(".log")
        _log.info("converting %s, of %s processes", checkpoint.folder, checkpoint.marker.processes)
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", _CONVERTER, "--inject_missing_state"),
                    *("--input_folder", str(source), "--output_folder", str(copy / source.name)),
                ],
                env={name: value for name, value in os.environ.items() if name not in _OF_THE_GANG},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def poll(self) -> str | None:
        """None while it runs; then the empty string, or the last words of a converter that failed."""
        try:
            code = self._process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        if code != 0:
            return self._output.read_text(errors="replace").strip()[-_LAST_WORDS:] or f"exit code {code}"
        for file in self._copy.glob(f"{_STATES}/zero/optimizer_state.pt"):
            _slim(file)
        _log.info("converted in %.1f s: %s", time.monotonic() - self._began, self._copy)
        return ""


def _slim(file: Path) -> None:
    """Take out of the optimizer's common state what must not be common.

    DeepSpeed puts all of the first process's partition into this file, which every process reads, and gives every
    group of parameters the options of the first: weight decay to those that should have none.
    """
    state = torch.load(file, map_location="cpu", weights_only=False)
    torch.save(_without_partitions(state), file)


def _without_partitions(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _without_partitions(entry, str(name)) for name, entry in value.items() if name != "weight_decay"}
    if isinstance(value, list):
        return [_without_partitions(entry) for entry in value]
    if isinstance(value, torch.Tensor) and value.numel() > 1:
        return None
    return value


class _AfterLoading(TrainerCallback):  # type: ignore[misc]
    """Mends what DeepSpeed loaded, and removes the converted checkpoint after the first step, the last to read of it.

    ZeRO-3 gives all groups of parameters one and the same count of steps, which each of them would add to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_train_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        while hasattr(optimizer, "optimizer"):  # accelerate's wrapper, then DeepSpeed's, then torch's
            optimizer = optimizer.optimizer
        for values in optimizer.state.values():
            if isinstance(values.get("step"), torch.Tensor):
                values["step"] = values["step"].clone()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            shutil.rmtree(self._folder, ignore_errors=True)
