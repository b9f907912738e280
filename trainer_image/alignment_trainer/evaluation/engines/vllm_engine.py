"""Responses by vLLM, which batches the prompts of one call itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from alignment_api.v1alpha1 import Tokenizer
from alignment_api.v1alpha1.evaluation import Generation

from ...data.rows import Messages
from ...models import remote_code
from ...models.tokenizer import load_tokenizer
from ..responses import Response, packed

CALL_FACTOR: Final = 16
"""Prompts of one call, in batches: vLLM fills the places of those that ended with others that wait."""

_STOP: Final = "stop"


class VllmEngine:
    """Generates with vLLM in this process, on this process's GPU.

    Args:
        folder: the model, as written by ``save_pretrained``.
        overrides: the user's tokenizer settings.
        settings: length, temperature and seed.
    """

    def __init__(self, folder: str, overrides: Tokenizer, settings: Generation) -> None:
        from vllm import LLM

        self._tokenizer = load_tokenizer(folder, overrides)
        self._settings = settings
        self._engine: Any = LLM(**engine_options(folder, settings))

    def respond(self, prompts: Sequence[Messages], batch_number: int) -> list[Response]:
        """One response to each prompt."""
        from vllm import SamplingParams

        # The template is applied here: vLLM would take the model's own, and not the user's.
        ids = [
            self._tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, return_dict=True)["input_ids"]
            for prompt in prompts
        ]
        sampling = [
            SamplingParams(**sampling_options(self._settings, batch_number, place, self._tokenizer.eos_token_id))
            for place in range(len(prompts))
        ]
        requests = [{"prompt_token_ids": row} for row in ids]
        return [
            self._response(output.outputs[0]) for output in self._engine.generate(requests, sampling, use_tqdm=False)
        ]

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


def engine_options(folder: str, settings: Generation) -> dict[str, Any]:
    """Arguments of ``vllm.LLM``: one whole copy of the model in each process, as the launcher started it."""
    return {
        "model": folder,
        "dtype": "auto",
        "max_num_seqs": settings.batch_size,
        "seed": settings.seed,
        "tensor_parallel_size": 1,
        "distributed_executor_backend": "external_launcher",
        "generation_config": "vllm",  # the model's own defaults, such as a top-k, are not what the manifest says
        "trust_remote_code": remote_code.is_trusted(folder),
    }


def sampling_options(settings: Generation, batch_number: int, place: int, stop: int | None) -> dict[str, Any]:
    """Arguments of ``vllm.SamplingParams`` for one prompt.

    Args:
        settings: length, temperature and seed.
        batch_number: the call.
        place: of the prompt in it: each gets a seed of its own, so that it does not matter which run together.
        stop: token that ends a turn.
    """
    return {
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": 0,
        "seed": (settings.seed + batch_number * CALL_FACTOR * settings.batch_size + place) % 2**32,
        "stop_token_ids": [stop] if stop is not None else [],
        "skip_special_tokens": False,
    }
