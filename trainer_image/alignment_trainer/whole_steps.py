"""Every optimizer step trains on exactly ``globalBatchSize`` rows, also the last one of an epoch.

accelerate completes the last batches of an epoch so that all processes have equally many, and transformers makes the
last step of what is left. How many rows that is depends on the processes and the micro batch, and so then would the
optimization of a stage that goes on with others. Here the last step of an epoch is filled up with the epoch's first
rows, as accelerate does between processes: on every gang the same steps have the same rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Sampler, SequentialSampler


class WholeSteps(Sampler[int]):  # type: ignore[misc]
    """The rows of an epoch, and its first ones again until the last step is full.

    Args:
        sampler: the order of rows.
        rows: rows of a step.
    """

    def __init__(self, sampler: Any, rows: int) -> None:
        self._sampler = sampler
        self._rows = rows

    def __iter__(self) -> Iterator[int]:
        order = list(self._sampler)
        return itertools.islice(itertools.cycle(order), len(self))

    def __len__(self) -> int:
        return -(-len(self._sampler) // self._rows) * self._rows

    def set_epoch(self, epoch: int) -> None:
        """Take the order of ``epoch``, counted from 0."""
        if hasattr(self._sampler, "set_epoch"):
            self._sampler.set_epoch(epoch)


def fill(trainer: Any, rows: int) -> None:
    """Let every step of ``trainer`` have ``rows`` rows.

    Trainers that draw rows otherwise than in their order or shuffled, such as those of prompts, are left as they are:
    they drop what does not fill a step.
    """
    make_loader = trainer.get_train_dataloader

    def get_train_dataloader() -> Any:
        loader = make_loader()
        batches = getattr(loader.batch_sampler, "batch_sampler", loader.batch_sampler)  # one for all processes
        if isinstance(batches.sampler, SeedableRandomSampler | SequentialSampler) and not batches.drop_last:
            batches.sampler = WholeSteps(batches.sampler, rows)
        return loader

    trainer.get_train_dataloader = get_train_dataloader
