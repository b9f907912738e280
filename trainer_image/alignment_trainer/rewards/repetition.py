"""A penalty on responses that repeat themselves."""

from __future__ import annotations

from alignment_api.v1alpha1.methods.rewards import RepetitionReward

from .. import ngrams
from .scoring import Batch, Scorer


class RepetitionScorer(Scorer):
    """Minus the share of n-grams that occurred before (Yeo et al., 2025, arXiv:2502.03373, appendix)."""

    def __init__(self, settings: RepetitionReward) -> None:
        self._ngram = settings.ngram

    def score(self, batch: Batch) -> list[float]:
        """0 to -1 for each response."""
        return [-repeated_share(text, self._ngram) for text in batch.completions]


def repeated_share(text: str, ngram: int) -> float:
    """Share of the text's n-grams of words that occurred before in it; 0 when it has none."""
    return ngrams.repeated_share(text.split(), ngram) or 0.0
