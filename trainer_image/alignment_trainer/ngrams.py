"""Runs of words or tokens, and how often they come back. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence


def ngrams(tokens: Sequence[Hashable], length: int) -> Iterator[tuple[Hashable, ...]]:
    """All runs of ``length`` consecutive tokens."""
    return zip(*(tokens[start:] for start in range(length)), strict=False)


def repeated_share(tokens: Sequence[Hashable], length: int) -> float | None:
    """Share of the n-grams that occurred before among ``tokens`` (seq-rep-n; Welleck et al., 2019, arXiv:1908.04319).

    Args:
        tokens: words, or token ids.
        length: n.

    Returns:
        0 to 1; None if there are fewer than n tokens.
    """
    total = len(tokens) - length + 1
    return 1 - len(set(ngrams(tokens, length))) / total if total > 0 else None
