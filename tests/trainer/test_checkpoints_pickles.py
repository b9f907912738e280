"""What pickles of a checkpoint may do to the process that resumes; real resumes are in `test_checkpoints_resume`."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from alignment_trainer.exceptions import CheckpointError
from alignment_trainer.safe_pickles import read_as_data


class Malicious:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._folder),)


class Attribute:
    """Pickled as an attribute of something."""

    def __init__(self, owner: Any, name: str) -> None:
        self._named = (owner, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, self._named


def deepspeed_load(file: Path) -> Any:
    """As DeepSpeed reads its files."""
    return torch.load(file, map_location="cpu", weights_only=False)


def test_what_deepspeed_keeps_is_read(tmp_path: Path) -> None:
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    dynamic = DynamicLossScaler(2**16, 1000, 1, 2, False)
    state = {
        "zero_stage": ZeroStageEnum.weights,
        "loss_scaler": LossScaler(scale=1),
        "dynamic_loss_scaler": dynamic,
        "param_slice_mappings": [OrderedDict(weight=fragment_address(numel=4, start=0))],
        "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(4)}}, "param_groups": [{"betas": (0.9, 0.95)}]},
    }
    torch.save(state, tmp_path / "states.pt")
    with read_as_data():
        read = deepspeed_load(tmp_path / "states.pt")
    assert read["zero_stage"] is ZeroStageEnum.weights
    assert read["loss_scaler"].loss_scale == 1
    assert read["dynamic_loss_scaler"].loss_scale == 2**16
    assert read["param_slice_mappings"][0]["weight"] == fragment_address(numel=4, start=0)
    assert torch.equal(read["optimizer_state_dict"]["state"][0]["exp_avg"], torch.ones(4))


def test_enumerations_of_older_pythons_are_read(tmp_path: Path) -> None:
    """Python 3.11.2, which Debian has, pickles a member as an attribute of its class."""
    from deepspeed.runtime.zero.config import ZeroStageEnum

    torch.save({"zero_stage": Attribute(ZeroStageEnum, "weights")}, tmp_path / "states.pt")
    with read_as_data():
        assert deepspeed_load(tmp_path / "states.pt")["zero_stage"] is ZeroStageEnum.weights


@pytest.mark.parametrize("name", ["__init__", "__class__", "mro", "name"])
def test_no_other_attribute_is_read(tmp_path: Path, name: str) -> None:
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum

    for owner in (ZeroStageEnum, LossScaler):
        torch.save({"zero_stage": Attribute(owner, name)}, tmp_path / "states.pt")
        with pytest.raises(CheckpointError, match="no member of an enumeration"), read_as_data():
            deepspeed_load(tmp_path / "states.pt")


def test_nothing_else_is_made(tmp_path: Path) -> None:
    made = tmp_path / "made"
    torch.save({"optimizer_state_dict": Malicious(made)}, tmp_path / "states.pt")
    with pytest.raises(CheckpointError, match="holds more than data"), read_as_data():
        deepspeed_load(tmp_path / "states.pt")
    assert not made.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    deepspeed_load(tmp_path / "states.pt")
    assert made.exists(), "without it, the file would have had its way"
