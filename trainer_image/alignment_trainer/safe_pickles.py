"""Checkpoints are read as data: a pickle in one can make no object but those that checkpoints are known to hold.

DeepSpeed reads its files with ``weights_only=False``, which runs whatever a pickle says. Who can write to the workspace
could have a gang that resumes run it.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from importlib import import_module
from typing import Any, Final

import torch

from .exceptions import CheckpointError

_SWITCH: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""torch reads it at every load, and it wins over what the caller says."""

_KNOWN: Final = (
    ("deepspeed.runtime.zero.config", "ZeroStageEnum"),
    ("deepspeed.runtime.fp16.loss_scaler", "LossScaler"),
    ("deepspeed.runtime.fp16.loss_scaler", "DynamicLossScaler"),
    ("deepspeed.utils.tensor_fragment", "fragment_address"),
)
"""What DeepSpeed keeps beside tensors and plain values: counters and enumerations, over all ZeRO stages."""


@contextmanager
def read_as_data() -> Iterator[None]:
    """Within this, ``torch.load`` makes tensors, plain values and what is in `_KNOWN`, whatever it is asked for.

    Raises:
        CheckpointError: a file holds something else.
    """
    before = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "1"
    try:
        with torch.serialization.safe_globals([*(_class(*name) for name in _KNOWN), (_member, "builtins.getattr")]):
            yield
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"a file of the checkpoint holds more than data, and is not read, as it could run any code: {error}"
        ) from error
    finally:
        if before is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = before


def _member(kind: Any, name: str) -> Any:
    """Stands for ``getattr``, by which Python 3.11.0 to 3.11.3 pickle the members of enumerations.

    Raises:
        UnpicklingError: it is asked for anything else.
    """
    if isinstance(kind, type) and issubclass(kind, Enum) and name in kind.__members__:
        return kind[name]
    raise pickle.UnpicklingError(f"{name!r} of {kind!r} is no member of an enumeration")


def _class(module: str, name: str) -> Any:
    return getattr(import_module(module), name)
