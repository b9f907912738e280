"""Models that are loaded when they are first needed, and leave the memory before the next one comes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

Model = TypeVar("Model")


class OnDemand(Generic[Model]):
    """A model that is loaded the first time it is asked for: an attempt that finds all done never loads it.

    Args:
        load: loads it.
    """

    def __init__(self, load: Callable[[], Model]) -> None:
        self._load = load
        self._model: Model | None = None

    def __call__(self) -> Model:
        """The model, in memory."""
        if self._model is None:
            gc.freeze()  # what was imported stays: looking through it again takes longer than to load a small model
            self._model = self._load()
        return self._model

    def release(self) -> None:
        """Let the memory go."""
        if self._model is None:
            return
        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@contextmanager
def on_demand(load: Callable[[], Model]) -> Iterator[OnDemand[Model]]:
    """The model that ``load`` loads, as long as the block lasts."""
    model = OnDemand(load)
    try:
        yield model
    finally:
        model.release()
