"""What a checkpoint of PPO has beside TRL's: the weight of the KL penalty, and values where no engine saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from safetensors.torch import load_file, save_file
from torch import Tensor

from .kl_control import KlControl
from .value_model import ValueModel

_KL_FILE: Final = "kl_control.json"
_VALUE_FILE: Final = "value_model.safetensors"


def save_kl(folder: Path, control: KlControl) -> None:
    """Write the weight of the KL penalty, to the last bit."""
    (folder / _KL_FILE).write_text(json.dumps({"coefficient": control.coefficient}))


def load_kl(folder: Path, control: KlControl) -> None:
    """Take the weight of the KL penalty from a checkpoint."""
    control.coefficient = json.loads((folder / _KL_FILE).read_text())["coefficient"]


def save_values(folder: Path, model: ValueModel) -> None:
    """Write what is trained of the value model."""
    save_file({name: weight.contiguous() for name, weight in _trained(model).items()}, folder / _VALUE_FILE)


def load_values(folder: Path, model: ValueModel) -> None:
    """Take what is trained of the value model from a checkpoint.

    Raises:
        ValueError: the checkpoint is of another value model.
    """
    saved = load_file(folder / _VALUE_FILE)
    if saved.keys() != _trained(model).keys():
        raise ValueError(f"{folder} holds the values of another model")
    model.load_state_dict(saved, strict=False)


def _trained(model: ValueModel) -> dict[str, Tensor]:
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}
