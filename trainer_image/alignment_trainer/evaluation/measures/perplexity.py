"""Perplexity of general text: what alignment costs a model elsewhere (the alignment tax).

A document is cut into windows of `maxLength` tokens that do not overlap, or of as many as the model has positions for.
If the tokenizer puts a token before every text (BOS), so does each window, and all tokens of the document count; else
the first token of each window is context and does not count itself. The perplexity is the exponential of the summed
negative log-likelihoods over the number of tokens that count, over all documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch.nn import functional

from alignment_api.v1alpha1 import GateMetric
from alignment_api.v1alpha1.evaluation import TextCorpus

from ..measurement import Measurement, Transform
from .units import LoadedModel, Unit, series_of
from .units import measurement as measurement_of

_TOKENS_AT_ONCE: Final = 8192
"""Most tokens of one forward pass: logits take as much memory as a vocabulary is large for each."""


class _Window(NamedTuple):
    """Tokens that the model sees together; the first is context alone."""

    document: int
    tokens: list[int]


def score(model: LoadedModel, documents: Sequence[str], text: TextCorpus, batch_size: int) -> list[Unit]:
    """[summed negative log-likelihood in nats, tokens that count] of each document.

    Args:
        model: the model.
        documents: texts, run together.
        text: length of the windows.
        batch_size: most windows of one forward pass.
    """
    units: list[Unit] = [[0.0, 0] for _ in documents]
    windows = sorted(_windows(model, documents, text.max_length), key=lambda window: -len(window.tokens))
    for batch in _batches(windows, batch_size):
        for window, loss in zip(batch, _losses(model, [window.tokens for window in batch]), strict=True):
            units[window.document][0] += loss
            units[window.document][1] += len(window.tokens) - 1
    return units


def measurement(text: TextCorpus, candidate: str, own: Sequence[Unit], baseline: Sequence[Unit]) -> Measurement:
    """The perplexity of a candidate on a text.

    Args:
        text: which text.
        candidate: name of the candidate.
        own: the candidate's units, one for each document.
        baseline: the baseline's, of the same documents. Where the models cut a document into different numbers of
            tokens, the perplexities are no means over the same things, and the baseline's is left out.
    """
    found = measurement_of(GateMetric.PERPLEXITY, text.name, candidate, own, baseline, Transform.EXP)
    if found.problem is not None or [unit[1] for unit in own] == [unit[1] for unit in baseline]:
        return found
    return Measurement(
        metric=found.metric,
        candidate=candidate,
        of=text.name,
        own=series_of(own),
        transform=Transform.EXP,
        problem=f"{text.name}: {candidate} and the baseline cut the text into different tokens, so their "
        "perplexities per token cannot be compared; gate on the candidate's own (no relativeToBaseline)",
    )


def _windows(model: LoadedModel, documents: Sequence[str], max_length: int) -> Iterator[_Window]:
    positions = getattr(model.model.config.get_text_config(), "max_position_embeddings", None) or max_length
    length = min(max_length, positions)
    start = start_of(model.tokenizer)
    for number, document in enumerate(documents):
        tokens = model.tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
        for begin in range(0, len(tokens), length - len(start)):
            window = start + tokens[begin : begin + length - len(start)]
            if len(window) > 1:
                yield _Window(number, window)


def start_of(tokenizer: Any) -> list[int]:
    """The token that the tokenizer puts before every text, if it does."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("a")["input_ids"][0] == bos else []


def _batches(windows: Sequence[_Window], batch_size: int) -> Iterator[Sequence[_Window]]:
    """Windows that run together; the first of each is its longest."""
    begin = 0
    while begin < len(windows):
        count = max(1, min(batch_size, _TOKENS_AT_ONCE // len(windows[begin].tokens)))
        yield windows[begin : begin + count]
        begin += count


def _losses(model: LoadedModel, rows: Sequence[list[int]]) -> list[float]:
    """Summed negative log-likelihood of each row's tokens but the first."""
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    with torch.inference_mode():
        logits = model.model(input_ids=ids, attention_mask=mask, use_cache=False).logits  # [rows, width, vocab]
        # Row by row: in full precision, all rows together would take several times the memory of the logits.
        return [
            functional.cross_entropy(logits[i, : len(row) - 1].float(), ids[i, 1 : len(row)], reduction="sum").item()
            for i, row in enumerate(rows)
        ]
