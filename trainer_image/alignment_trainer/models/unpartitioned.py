"""Loading a model whole in a process that trains another one with ZeRO-3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unpartitioned() -> Iterator[None]:
    """Let ``from_pretrained`` load all weights into this process.

    Once a training with ZeRO-3 has been configured, transformers partitions whatever it loads over the gang, and every
    use of the model must then be made by all ranks at once.
    """
    from transformers.integrations import deepspeed

    reference = deepspeed._hf_deepspeed_config_weak_ref
    configuration = reference() if reference is not None else None
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if configuration is not None:
            deepspeed.set_hf_deepspeed_config(configuration)
