"""Which responses changed most from the baseline to a candidate. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from ..ngrams import ngrams


def most_changed(baseline: Sequence[str], candidate: Sequence[str], most: int = 20) -> list[tuple[int, float]]:
    """The prompts whose responses are least alike, the most changed first; those that did not change are left out.

    Args:
        baseline: the baseline's response to each prompt.
        candidate: the candidate's.
        most: how many prompts to name.

    Returns:
        (number of the prompt, similarity) of each; of equal ones the first prompts.
    """
    similarities = [similarity(*pair) for pair in zip(baseline, candidate, strict=True)]
    changed = ((value, number) for number, value in enumerate(similarities) if value < 1)
    return [(number, value) for value, number in heapq.nsmallest(most, changed)]


def similarity(first: str, second: str) -> float:
    """Share of two texts' words and pairs of words that both have: the Sorensen-Dice coefficient of the multisets.

    Linear in the texts' length, where an edit distance is quadratic, and mostly blind to where in the text words are.

    Returns:
        0 nothing in common, 1 the same but for spaces.
    """
    if first == second:
        return 1.0
    ours, theirs = _features(first), _features(second)
    size = ours.total() + theirs.total()
    return 2 * (ours & theirs).total() / size if size else 1.0


def _features(text: str) -> Counter[tuple[object, ...]]:
    words = ["", *text.split(), ""]
    features: Counter[tuple[object, ...]] = Counter((word,) for word in words[1:-1])
    features.update(ngrams(words, 2))
    return features
