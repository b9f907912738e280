"""A causal language model under evaluation: how likely it finds given responses, and, by an engine, its own."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM

from alignment_api.v1alpha1 import Tokenizer
from alignment_api.v1alpha1.evaluation import Generation

from ..data.rows import Messages
from ..models import remote_code
from ..models.tokenizer import load_tokenizer
from .engines.stops import stop_tokens
from .responses import Likelihood
from .responses import Response as Response

_MOST_LOGITS: Final = 2**28
"""Logits of one forward pass: half a gigabyte in 16 bits."""


@dataclass(frozen=True)
class TokenRow:
    """Token ids of a prompt and a response to it, and where the response begins."""

    ids: Sequence[int]
    start: int


class LanguageModel:
    """A model in the memory of this process: each process of the gang holds one whole copy, one model at a time.

    Args:
        folder: the model, as written by ``save_pretrained``.
        overrides: the user's tokenizer settings.
        device: where to run it.
    """

    def __init__(self, folder: str, overrides: Tokenizer, device: Any) -> None:
        self.tokenizer = load_tokenizer(folder, overrides)
        self.tokenizer.padding_side = "left"  # generation goes on at the right end
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **remote_code.options(folder))
        self.model = model.to(device).eval()
        self.device = device
        self.stops = stop_tokens(self.tokenizer, self.model.generation_config.eos_token_id)

    def respond(self, prompts: Sequence[Messages], settings: Generation, batch_number: int) -> list[Response]:
        """One response to each prompt, generated as one batch by transformers.

        Args:
            prompts: conversations that end with the user.
            settings: length, temperature and seed.
            batch_number: makes the seed of each batch its own, whichever process draws it.
        """
        from .engines.transformers_engine import TransformersEngine

        return TransformersEngine(self, settings).respond(prompts, batch_number)

    def log_probabilities(self, answered: Sequence[tuple[Messages, Messages]]) -> list[float]:
        """Sum of the log-probabilities of each response's tokens after its prompt, in nats.

        Args:
            answered: (prompt, response) pairs, run as one batch.
        """
        rows = [self.row_of_messages(prompt, response) for prompt, response in answered]
        return [likelihood.log_probability for likelihood in self.likelihoods(rows)]

    def likelihoods(self, rows: Sequence[TokenRow]) -> list[Likelihood]:
        """How likely each response is after its prompt, run as one batch, or several if their logits are many."""
        found: list[Likelihood] = []
        for some in self._fitting(rows):
            found += self._likelihoods(some)
        return found

    def row_of_messages(self, prompt: Messages, response: Messages) -> TokenRow:
        """Prompt and response as the chat template writes them."""
        asked = self._template(prompt, add_generation_prompt=True)
        whole = self._template(prompt + response, add_generation_prompt=False)
        shared = next((i for i, (a, b) in enumerate(zip(asked, whole, strict=False)) if a != b), len(asked))
        return TokenRow(whole, min(shared, len(whole)))

    def row_of_tokens(self, prompt: Messages, response: Sequence[int]) -> TokenRow:
        """A prompt and the very tokens that some model answered."""
        asked = self._template(prompt, add_generation_prompt=True)
        return TokenRow([*asked, *response], len(asked))

    @cached_property
    def _may_keep_logits(self) -> bool:
        return "logits_to_keep" in inspect.signature(self.model.forward).parameters

    def _fitting(self, rows: Sequence[TokenRow]) -> Iterator[list[TokenRow]]:
        vocabulary = self.model.config.get_text_config().vocab_size
        some: list[TokenRow] = []
        for row in rows:
            longest = max(len(other.ids) for other in [*some, row])
            if some and (len(some) + 1) * longest * vocabulary > _MOST_LOGITS:
                yield some
                some = []
            some.append(row)
        if some:
            yield some

    def _likelihoods(self, rows: Sequence[TokenRow]) -> list[Likelihood]:
        ids = pad_sequence(
            [torch.tensor(row.ids) for row in rows], batch_first=True, padding_value=self.tokenizer.pad_token_id
        ).to(self.device)  # [batch, length]
        lengths = torch.tensor([len(row.ids) for row in rows], device=self.device)
        mask = (torch.arange(ids.shape[1], device=self.device) < lengths[:, None]).to(ids.dtype)
        # Logits at position i are of token i + 1; those before the first response are of no use.
        first = max(min(row.start for row in rows) - 1, 0)
        wanted = torch.arange(first, ids.shape[1], device=self.device)
        options = {"logits_to_keep": wanted} if self._may_keep_logits else {}
        with torch.inference_mode():
            logits = self.model(input_ids=ids, attention_mask=mask, **options).logits
        if not self._may_keep_logits:
            logits = logits[:, first:]
        sums, counts = [], []
        for row, own, tokens in zip(rows, logits, ids, strict=True):
            start = max(row.start, 1)  # nothing comes before the first token of all
            scores = own[start - 1 - first : len(row.ids) - 1 - first].float()  # [response, vocab]
            chosen = scores.gather(1, tokens[start : len(row.ids), None]).squeeze(1)
            sums.append((chosen - scores.logsumexp(dim=1)).sum())
            counts.append(max(len(row.ids) - start, 0))
        return [Likelihood(*found) for found in zip(torch.stack(sums).tolist(), counts, strict=True)]

    def _template(self, messages: Messages, *, add_generation_prompt: bool) -> list[int]:
        encoded = self.tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=add_generation_prompt, return_dict=True
        )
        ids: list[int] = encoded["input_ids"]
        return ids
