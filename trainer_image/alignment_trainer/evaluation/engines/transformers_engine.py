"""Responses by transformers' ``generate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import set_seed

from alignment_api.v1alpha1.evaluation import Generation

from ...data.rows import Messages
from ..language_model import LanguageModel
from ..responses import Response, packed


class TransformersEngine:
    """Generates with a model in the memory of this process.

    Args:
        model: the model.
        settings: length, temperature and seed.
    """

    def __init__(self, model: LanguageModel, settings: Generation) -> None:
        self._model = model
        self._options: dict[str, Any] = {"max_new_tokens": settings.max_new_tokens, "do_sample": False}
        if settings.temperature > 0:
            self._options |= {
                "do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0,
            }  # fmt: skip
        self._seed = settings.seed

    def respond(self, prompts: Sequence[Messages], batch_number: int) -> list[Response]:
        """One response to each prompt, generated as one batch."""
        tokenizer = self._model.tokenizer
        inputs = tokenizer.apply_chat_template(
            [list(prompt) for prompt in prompts],
            add_generation_prompt=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._model.device)
        set_seed((self._seed + batch_number) % 2**32)
        output = self._model.model.generate(
            **inputs,
            **self._options,
            eos_token_id=sorted(self._model.stops),
            pad_token_id=tokenizer.pad_token_id,
        )
        return [self._response(ids) for ids in output[:, inputs["input_ids"].shape[1] :].tolist()]

    def _response(self, ids: list[int]) -> Response:
        end = next((i for i, token in enumerate(ids) if token in self._model.stops), None)
        answer = ids if end is None else ids[:end]
        return Response(
            text=self._model.tokenizer.decode(answer, skip_special_tokens=True),
            tokens=len(answer),
            finished=end is not None,
            token_ids=packed(ids if end is None else ids[: end + 1]),
        )
