"""A penalty on responses that are too short or too long."""

from __future__ import annotations

from typing import Any

from alignment_api.v1alpha1.methods.rewards import LengthReward

from .scoring import Batch, Scorer


class LengthScorer(Scorer):
    """0 within a range of tokens, falling linearly to -1 outside of it.

    The upper side is the soft overlong punishment of DAPO (Yu et al., 2025, arXiv:2503.14476, equation 13).

    Args:
        settings: the range.
        tokenizer: counts the tokens of responses that come as text alone.
    """

    def __init__(self, settings: LengthReward, tokenizer: Any) -> None:
        self._settings = settings
        self._tokenizer = tokenizer

    def score(self, batch: Batch) -> list[float]:
        """0 to -1 for each response."""
        return [penalty(tokens, self._settings) for tokens in self._lengths(batch)]

    def _lengths(self, batch: Batch) -> list[int]:
        """Tokens of every response, without the one that ends it."""
        if batch.completion_ids is None:
            return [len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) for text in batch.completions]
        end = self._tokenizer.eos_token_id
        return [len(ids) - (len(ids) > 0 and ids[-1] == end) for ids in batch.completion_ids]


def penalty(tokens: int, settings: LengthReward) -> float:
    """Minus the share of the slack by which ``tokens`` lies outside of the range, -1 at most."""
    outside = max(settings.min_tokens - tokens, tokens - settings.max_tokens, 0)
    return -min(outside / settings.slack, 1.0)
