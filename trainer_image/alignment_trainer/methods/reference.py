"""The reference model of methods that hold the policy against one: loaded, let go of, or following the policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from transformers import TrainerCallback

from .. import trl_imports
from ..models import remote_code
from .inputs import TrainerInputs

SAVED: Final = "reference"
"""Folder in a checkpoint with a reference that has followed the policy up to there."""


def load(inputs: TrainerInputs, field: str, *, follows_the_policy: bool = False) -> Any | None:
    """The reference model to hand to a TRL trainer.

    It is loaded like the policy: in the same precision, partitioned under ZeRO-3, in 4 bits over a 4-bit base.

    Args:
        inputs: what the trainer is built from.
        field: path of the reference below the stage, such as ``dpo.reference``.
        follows_the_policy: whether the reference changes, so that a resumed run goes on with the one it had.

    Returns:
        The model; None if the reference is the model the stage starts from, which TRL finds by itself.
    """
    folder = inputs.models.get(field)
    code = remote_code.options(folder or inputs.model)
    if follows_the_policy and inputs.resumed_from is not None:
        folder = str(inputs.resumed_from / SAVED)
    if folder is None:
        return None
    options = {"device_map": None} | (inputs.config.model_init_kwargs or {}) | code
    return trl_imports.load_language_model(folder, quantization_config=inputs.quantization_config, **options)


def let_go(trainer: Any) -> None:
    """Free the reference once its log-probabilities are computed; TRL and accelerate keep one that TRL was given."""
    trainer.ref_model = None
    trainer.accelerator.free_memory()


class FollowingReference(TrainerCallback):  # type: ignore[misc]
    """Moves the reference towards the policy (TR-DPO, arXiv:2404.09656) and keeps it with each checkpoint.

    TRL's own callback gathers all weights of both models at once under ZeRO-3, which no device could hold for a model
    that needs ZeRO-3, and forgets the reference in a checkpoint. Comes before the callback that completes checkpoints.

    Attributes:
        trainer: the DPOTrainer, once it is built.

    Args:
        every_steps: optimizer steps between two updates.
        mixup: share of the policy in the updated reference.
    """

    def __init__(self, every_steps: int, mixup: float) -> None:
        self.trainer: Any = None
        self._every_steps = every_steps
        self._mixup = mixup

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._every_steps == 0:
            accelerator = self.trainer.accelerator
            policy = accelerator.unwrap_model(self.trainer.model_wrapped)
            mix(policy, accelerator.unwrap_model(self.trainer.ref_model), self._mixup)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        accelerator, reference = self.trainer.accelerator, self.trainer.ref_model
        weights = accelerator.get_state_dict(reference)  # on every rank: gathers under ZeRO-3
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}" / SAVED
            accelerator.unwrap_model(reference).save_pretrained(str(folder), state_dict=weights)


def mix(policy: Any, reference: Any, share: float) -> None:
    """Set each weight of ``reference`` to (1 - share) x itself + share x that of ``policy``, one tensor at a time.

    Args:
        policy: a module; every rank must call this.
        reference: a module with the same parameters.
        share: between 0 and 1.
    """
    import torch

    for new, old in zip(policy.parameters(), reference.parameters(), strict=True):
        # Every rank computes the same; rank 0's result is what is partitioned again.
        with _whole(new), _whole(old, changed=True), torch.no_grad():
            old.lerp_(new.to(old.dtype), share)


@contextmanager
def _whole(parameter: Any, *, changed: bool = False) -> Iterator[None]:
    """The parameter with all its values, where ZeRO-3 holds only a part of it on each rank.

    Small parameters stay whole between uses. They are left so: ZeRO-3's plan of what to fetch when counts on it.
    """
    if not hasattr(parameter, "ds_id"):
        yield
        return
    import deepspeed
    from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus

    stays_whole = parameter.ds_status is ZeroParamStatus.AVAILABLE
    if stays_whole and not changed:
        yield
        return
    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0 if changed else None):
        yield
    if stays_whole:
        parameter.all_gather(param_list=[parameter])
