"""Preference pairs -> token ids with labels, for trainers that get their rows tokenized.

TRL's experimental trainers would tokenize differently from its stable ones: they put a BOS token before and an EOS
token behind whatever the chat template wrote, so that a template that ends a turn with a newline would teach the model
to end it twice, and they keep pairs whose prompt leaves no room for a response, whose mean log-probability is 0 / 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from .. import trl_imports

SIDES: Final = ("chosen", "rejected")
IGNORED: Final = -100
"""Label of a token that carries no loss."""


class _Response(NamedTuple):
    """Tokens of a prompt and a response, and where the response begins."""

    start: int
    ids: list[int]

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing of the response is left."""
        return self.start >= len(self.ids)

    @property
    def labels(self) -> list[int]:
        return [IGNORED] * self.start + self.ids[self.start :]


def tokenize(rows: Mapping[str, Sequence[Any]], tokenizer: Any, max_length: int) -> dict[str, list[list[int]]]:
    """Tokenize pairs as the chat template writes them: the whole conversation, with labels on the response alone.

    Args:
        rows: columns ``prompt``, ``chosen`` and ``rejected``, each a list of messages for each row.
        tokenizer: the tokenizer with its chat template.
        max_length: longest conversation in tokens; longer ones are cut at the end.

    Returns:
        Columns ``{chosen,rejected}_{input_ids,attention_mask,labels}``, the three of a side equally long. Pairs of
        which a side has no response left within ``max_length`` are left out.
    """
    prompts = _token_ids(rows["prompt"], tokenizer, add_generation_prompt=True)
    sides = {side: _responses(rows["prompt"], rows[side], prompts, tokenizer, max_length) for side in SIDES}
    kept = [row for row in range(len(prompts)) if not any(sides[side][row].is_cut_off for side in SIDES)]
    columns: dict[str, list[list[int]]] = {}
    for side in SIDES:
        responses = [sides[side][row] for row in kept]
        columns[f"{side}_input_ids"] = [response.ids for response in responses]
        columns[f"{side}_attention_mask"] = [[1] * len(response.ids) for response in responses]
        columns[f"{side}_labels"] = [response.labels for response in responses]
    return columns


def _responses(
    prompts: Sequence[Any], answers: Sequence[Any], prompt_ids: list[list[int]], tokenizer: Any, max_length: int
) -> list[_Response]:
    whole = _token_ids([prompt + answer for prompt, answer in zip(prompts, answers, strict=True)], tokenizer)
    return [
        _Response(trl_imports.common_prefix_length(alone, ids), ids[:max_length])
        for alone, ids in zip(prompt_ids, whole, strict=True)
    ]


def _token_ids(conversations: Sequence[Any], tokenizer: Any, **options: Any) -> list[list[int]]:
    texts = tokenizer.apply_chat_template(list(conversations), tokenize=False, **options)
    # The template writes special tokens itself.
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids
