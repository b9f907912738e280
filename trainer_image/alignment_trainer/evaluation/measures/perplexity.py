"""Perplexity of general text: what alignment costs a model elsewhere (the alignment tax).

A document is cut into windows of `maxLength` tokens that do not overlap, or of as many as the model has positions for.
If the tokenizer puts a token before every text (BOS), so does each window, and all tokens of the document count; else
the first token of each window is context and does not count itself. The perplexity is the exponential of the summed
negative log-likelihoods over the number of tokens that count, over all documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from alignment_api.v1alpha1 import GateMetric
from alignment_api.v1alpha1.evaluation import TextCorpus

from ..contestants import Contestant
from ..gang import Gang, Kept
from ..language_model import LanguageModel, TokenRow
from ..loaded import OnDemand
from ..measurement import Measurement, Transform
from . import units
from .units import Unit


def measure(
    contestant: Contestant,
    model: OnDemand[LanguageModel],
    text: TextCorpus,
    documents: Sequence[str],
    batch_size: int,
    gang: Gang,
) -> list[Unit]:
    """[summed negative log-likelihood in nats, tokens that count] of each document; every process must call this.

    Args:
        contestant: the model.
        model: the same, for transformers.
        text: which text.
        documents: its documents, as `data.texts.read` gives them.
        batch_size: documents of a batch, and most windows of one forward pass.
        gang: the processes.
    """
    kept = Kept(f"perplexity-{text.name}-{contestant.name}", {"model": contestant.identity, "window": text.max_length})
    return gang.share(
        documents, batch_size, lambda _, some: score(model(), some, text.max_length, batch_size), kept=kept, size=len
    )


def score(model: LanguageModel, documents: Sequence[str], max_length: int, batch_size: int) -> list[Unit]:
    """[summed negative log-likelihood in nats, tokens that count] of each document.

    Args:
        model: the model.
        documents: texts.
        max_length: tokens of a window.
        batch_size: most windows of one forward pass.
    """
    found: list[Unit] = [[0.0, 0] for _ in documents]
    windows = sorted(_windows(model, documents, max_length), key=lambda window: -len(window[1].ids))
    for begin in range(0, len(windows), batch_size):
        some = windows[begin : begin + batch_size]
        for (document, _), likelihood in zip(some, model.likelihoods([row for _, row in some]), strict=True):
            found[document][0] -= likelihood.log_probability
            found[document][1] += likelihood.tokens
    return found


def measurement(text: TextCorpus, candidate: str, own: Sequence[Unit], baseline: Sequence[Unit]) -> Measurement:
    """The perplexity of a candidate on a text.

    Args:
        text: which text.
        candidate: name of the candidate.
        own: the candidate's units, one for each document.
        baseline: the baseline's, of the same documents. Where the models cut a document into different numbers of
            tokens, the perplexities are no means over the same things, and the baseline's is left out.
    """
    found = units.measurement(GateMetric.PERPLEXITY, text.name, candidate, own, baseline, Transform.EXP)
    if found.problem is not None or [unit[1] for unit in own] == [unit[1] for unit in baseline]:
        return found
    problem = (
        f"{text.name}: {candidate} and the baseline cut the text into different tokens, so their perplexities per "
        "token cannot be compared: gate on the candidate's own (no relativeToBaseline)"
    )
    return replace(found, baseline=None, problem=problem)


def _windows(model: LanguageModel, documents: Sequence[str], max_length: int) -> Iterator[tuple[int, TokenRow]]:
    """(number of the document, a window of it)."""
    positions = getattr(model.model.config.get_text_config(), "max_position_embeddings", None) or max_length
    start = _start(model.tokenizer)
    length = min(max_length, positions) - len(start)
    for number, document in enumerate(documents):
        tokens = model.tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
        for begin in range(0, len(tokens), length):
            window = start + tokens[begin : begin + length]
            if len(window) > 1:
                yield number, TokenRow(window, 1)


def _start(tokenizer: Any) -> list[int]:
    """The token that the tokenizer puts before every text, if it does."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("a")["input_ids"][:1] == [bos] else []
