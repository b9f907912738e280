"""A causal language model under evaluation: its responses to prompts, and how likely it finds given responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, set_seed

from alignment_api.v1alpha1 import Tokenizer
from alignment_api.v1alpha1.evaluation import Generation

from ..data.rows import Messages
from ..models import remote_code
from ..models.tokenizer import load_tokenizer


@dataclass(frozen=True)
class Response:
    """What a model answered.

    Attributes:
        text: the answer, without special tokens.
        tokens: its length.
        finished: whether the model ended it; False when it was cut off at the length limit.
    """

    text: str
    tokens: int
    finished: bool


class LanguageModel:
    """A model in the memory of this process: each process of the gang holds one whole copy, one model at a time.

    Args:
        folder: the model, as written by ``save_pretrained``.
        overrides: the user's tokenizer settings.
        device: where to run it.
    """

    def __init__(self, folder: str, overrides: Tokenizer, device: Any) -> None:
        self._tokenizer = load_tokenizer(folder, overrides)
        self._tokenizer.padding_side = "left"  # generation goes on at the right end
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **remote_code.options(folder))
        self._model = model.to(device).eval()
        self._device = device
        own = self._model.generation_config.eos_token_id
        self._stops = {self._tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}

    def respond(self, prompts: Sequence[Messages], settings: Generation, batch_number: int) -> list[Response]:
        """One response to each prompt, generated as one batch.

        Args:
            prompts: conversations that end with the user.
            settings: length, temperature and seed.
            batch_number: makes the seed of each batch its own, whichever process draws it.
        """
        inputs = self._tokenizer.apply_chat_template(
            [list(prompt) for prompt in prompts],
            add_generation_prompt=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device)
        set_seed((settings.seed + batch_number) % 2**32)
        sampling: dict[str, float] = {"do_sample": False}
        if settings.temperature > 0:
            sampling = {
                "do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0,
            }  # fmt: skip
        output = self._model.generate(
            **inputs,
            **sampling,
            max_new_tokens=settings.max_new_tokens,
            eos_token_id=sorted(self._stops),
            pad_token_id=self._tokenizer.pad_token_id,
        )
        return [self._response(tokens) for tokens in output[:, inputs["input_ids"].shape[1] :].tolist()]

    def log_probabilities(self, answered: Sequence[tuple[Messages, Messages]]) -> list[float]:
        """Sum of the log-probabilities of each response's tokens after its prompt, in nats.

        Args:
            answered: (prompt, response) pairs, run as one batch.
        """
        rows = [self._token_ids(prompt, response) for prompt, response in answered]
        ids = pad_sequence(
            [torch.tensor(row) for row, _ in rows], batch_first=True, padding_value=self._tokenizer.pad_token_id
        ).to(self._device)  # [batch, length]
        mask = torch.zeros_like(ids)
        is_response = torch.zeros_like(ids, dtype=torch.bool)
        for i, (row, start) in enumerate(rows):
            mask[i, : len(row)] = 1
            is_response[i, start : len(row)] = True
        with torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=mask).logits
        logits = logits[:, :-1].float()  # [batch, length - 1, vocab]
        chosen = torch.gather(logits, 2, ids[:, 1:, None]).squeeze(2) - torch.logsumexp(logits, dim=2)
        sums: list[float] = (chosen * is_response[:, 1:]).sum(dim=1).tolist()
        return sums

    def _token_ids(self, prompt: Messages, response: Messages) -> tuple[list[int], int]:
        """Token ids of prompt and response, and where the response begins."""
        asked = self._template(prompt, add_generation_prompt=True)
        whole = self._template(prompt + response, add_generation_prompt=False)
        shared = next((i for i, (a, b) in enumerate(zip(asked, whole, strict=False)) if a != b), len(asked))
        return whole, min(shared, len(whole))

    def _template(self, messages: Messages, *, add_generation_prompt: bool) -> list[int]:
        encoded = self._tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=add_generation_prompt, return_dict=True
        )
        ids: list[int] = encoded["input_ids"]
        return ids

    def _response(self, tokens: list[int]) -> Response:
        end = next((i for i, token in enumerate(tokens) if token in self._stops), None)
        answer = tokens if end is None else tokens[:end]
        text = self._tokenizer.decode(answer, skip_special_tokens=True)
        return Response(text=text, tokens=len(answer), finished=end is not None)
