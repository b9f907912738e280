"""What generates responses: transformers everywhere, vLLM on GPUs where the image has it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Protocol

from alignment_api.contract import Problem
from alignment_api.v1alpha1.evaluation import Engine as EngineName

from ...data.rows import Messages
from ...exceptions import ConfigurationError
from ..responses import Response


class Engine(Protocol):
    """Generates responses of one model."""

    def respond(self, prompts: Sequence[Messages], batch_number: int) -> list[Response]:
        """One response to each prompt.

        Args:
            prompts: conversations that end with the user.
            batch_number: makes the seed of each batch its own, whichever process draws it.
        """
        ...


def choose(wanted: EngineName, *, has_gpu: bool, field: str) -> EngineName:
    """The engine that generates: `transformers` or `vllm`.

    Args:
        wanted: the user's choice.
        has_gpu: whether this process has one.
        field: path of the choice in the manifest, for errors.

    Raises:
        ConfigurationError: vLLM is wanted where it cannot run.
    """
    missing = _missing_for_vllm(has_gpu=has_gpu)
    if wanted is EngineName.VLLM and missing is not None:
        message = f"vllm cannot generate here: {missing}; set it to auto, or to transformers"
        raise ConfigurationError(message, [Problem(field=field, message=message)])
    if wanted is EngineName.TRANSFORMERS or missing is not None:
        return EngineName.TRANSFORMERS
    return EngineName.VLLM


def _missing_for_vllm(*, has_gpu: bool) -> str | None:
    if importlib.util.find_spec("vllm") is None:
        return "the trainer image does not have it"
    return None if has_gpu else "there is no GPU"
