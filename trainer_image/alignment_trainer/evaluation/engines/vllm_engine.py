"""Responses by vLLM, which batches the prompts of one call itself.

The engine runs in a process below this one, on the same GPU: when it ends, all its memory is free for the next model,
and it has no part in the gang's communication.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from transformers import AutoConfig, GenerationConfig

from alignment_api.v1alpha1 import Tokenizer
from alignment_api.v1alpha1.evaluation import Generation

from ...data.rows import Messages
from ...models import remote_code
from ...models.tokenizer import load_tokenizer
from ..responses import Response, packed
from .stops import stop_tokens

CALL_FACTOR: Final = 16
"""Prompts of one call, in batches: vLLM fills the places of those that ended with others that wait."""

MEMORY_SHARE: Final = 0.85
"""Of the GPU; this process has a CUDA context there too."""

_STOP: Final = "stop"
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
_OF_THE_GANG: Final = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_OF_THE_LAUNCHER: Final = "TORCHELASTIC_"


class VllmEngine:
    """Generates with vLLM.

    Args:
        folder: the model, as written by ``save_pretrained``.
        overrides: the user's tokenizer settings.
        settings: length, temperature and seed.
        device: torch device of this process.
    """

    def __init__(self, folder: str, overrides: Tokenizer, settings: Generation, device: Any) -> None:
        self._vllm = importlib.import_module("vllm")
        self._tokenizer = load_tokenizer(folder, overrides)
        self._settings = settings
        self._stops = sorted(stop_tokens(self._tokenizer, _ends_of(folder)))
        with _environment(engine_environment(os.environ, device.index or 0)):
            self._engine = self._vllm.LLM(**engine_options(folder, settings))

    def respond(self, prompts: Sequence[Messages], batch_number: int) -> list[Response]:
        """One response to each prompt."""
        # The template is applied here: vLLM would take the model's own, and not the user's.
        requests = [
            self._tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, return_dict=True)["input_ids"]
            for prompt in prompts
        ]
        sampling = [
            self._vllm.SamplingParams(**sampling_options(self._settings, batch_number, place, self._stops))
            for place in range(len(prompts))
        ]
        outputs = self._engine.generate(
            [{"prompt_token_ids": ids} for ids in requests], sampling_params=sampling, use_tqdm=False
        )
        return [self._response(output.outputs[0]) for output in outputs]

    def _response(self, output: Any) -> Response:
        finished = output.finish_reason == _STOP
        ids = list(output.token_ids)
        answer = ids[:-1] if finished else ids
        return Response(
            text=self._tokenizer.decode(answer, skip_special_tokens=True),
            tokens=len(answer),
            finished=finished,
            token_ids=packed(ids),
        )


def engine_environment(environment: Mapping[str, str], index: int) -> dict[str, str]:
    """The environment in which vLLM starts its process: one GPU, and nothing of the gang it might join.

    Args:
        environment: this process's.
        index: this process's GPU among those it sees.
    """
    visible = environment.get(_VISIBLE)
    own = visible.split(",")[index].strip() if visible else str(index)
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _OF_THE_GANG and not name.startswith(_OF_THE_LAUNCHER)
    }
    return {**kept, _VISIBLE: own}


def engine_options(folder: str, settings: Generation) -> dict[str, Any]:
    """Arguments of ``vllm.LLM``."""
    return {
        "model": folder,
        "dtype": "auto",
        "max_num_seqs": settings.batch_size,
        "seed": settings.seed,
        "gpu_memory_utilization": MEMORY_SHARE,
        "generation_config": "vllm",  # the model's own defaults, such as a top-k, are not what the manifest says
        "trust_remote_code": remote_code.is_trusted(folder),
    }


def sampling_options(settings: Generation, batch_number: int, place: int, stops: Sequence[int]) -> dict[str, Any]:
    """Arguments of ``vllm.SamplingParams`` for one prompt.

    Args:
        settings: length, temperature and seed.
        batch_number: the call.
        place: of the prompt in it: each gets a seed of its own, so that it does not matter which run together.
        stops: tokens that end a response.
    """
    return {
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "seed": (settings.seed + batch_number * CALL_FACTOR * settings.batch_size + place) % 2**31,
        "stop_token_ids": list(stops),
        "detokenize": False,
    }


def _ends_of(folder: str) -> Any:
    """Tokens that end a response, as the model says."""
    try:
        return GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:  # an old model without the file
        return getattr(AutoConfig.from_pretrained(folder, **remote_code.options(folder)), "eos_token_id", None)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
