"""Lets TRL's online trainers go on after a restart as if there had been none.

TRL draws the order of prompts from a generator that it does not save, counts forward passes from 0 again, and forgets
the responses that were to be used for further optimizer steps. The first repeats the first epoch's order in every epoch
that is resumed; the others shift what is generated when, and optimize fresh responses as if they were old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import send_to_device
from torch.utils.data import Sampler


class EpochOrder(Sampler[int]):  # type: ignore[misc]
    """TRL's order of prompts in an epoch, also when the epochs before it were run by another process.

    Args:
        sampler: TRL's RepeatSampler; it draws one permutation an epoch from its generator.
        epoch: the epoch that is about to begin or to go on, counted from 0.
    """

    def __init__(self, sampler: Any, epoch: Callable[[], int]) -> None:
        self._sampler = sampler
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self._sampler.shuffle:
            self._sampler.generator.manual_seed(self._sampler.seed)
            for _ in range(self._epoch()):
                torch.randperm(self._sampler.num_samples, generator=self._sampler.generator)
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)


class ResumableRollouts:
    """Mixin for TRL's GRPOTrainer and RLOOTrainer, to be named before them.

    Between two generations, a checkpoint also holds each rank's responses (a few numbers for each of their tokens).
    A gang of another size cannot use them; it generates responses to the same prompts anew.
    """

    args: Any
    state: Any
    accelerator: Any
    num_iterations: int
    _step: int
    _buffered_inputs: list[dict[str, Any]] | None

    @property
    def _total_train_tokens(self) -> int:
        """Tokens of prompts and responses over all processes; these trainers count them in the saved state."""
        return int(self.state.num_input_tokens_seen)

    @_total_train_tokens.setter
    def _total_train_tokens(self, tokens: int) -> None:
        """Nothing: the state that is resumed has the count."""

    def _get_train_sampler(self, dataset: Any | None = None) -> EpochOrder:
        sampler = super()._get_train_sampler(dataset)  # type: ignore[misc]
        return EpochOrder(sampler, lambda: int(self.state.epoch or 0))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        if self._buffered_inputs is not None and self._step % self._generate_every():
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            torch.save({"step": self._step, "responses": self._buffered_inputs}, self._rollouts_file(folder))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is not None:
            file = self._rollouts_file(Path(checkpoint))
            if file.exists():
                saved = torch.load(file, map_location="cpu", weights_only=True)
                self._step = saved["step"]
                self._buffered_inputs = send_to_device(saved["responses"], self.accelerator.device)

    def _generate_every(self) -> int:
        """Forward passes from one generation to the next."""
        return int(self.args.steps_per_generation) * self.num_iterations

    def _rollouts_file(self, checkpoint: Path) -> Path:
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        return checkpoint / f"rollouts-{process}-of-{processes}.pt"


def resumable(trainer_class: type[Any]) -> type[Any]:
    """``trainer_class`` with resumable rollouts, under the same name."""
    return cast(type[Any], type(trainer_class.__name__, (ResumableRollouts, trainer_class), {}))
