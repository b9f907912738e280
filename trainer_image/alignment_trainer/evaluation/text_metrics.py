"""What can be said of responses from their texts alone. Pure.

Words are what spaces separate, in lower case where they are compared between responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alignment_api.v1alpha1 import GateMetric

from ..ngrams import ngrams, repeated_share
from .measurement import Measurement, Series
from .refusals import is_refusal

__all__ = ["is_refusal", "measurements", "series_of"]

_REPEATED: Final = 4
_DISTINCT: Final = {GateMetric.DISTINCT_1: 1, GateMetric.DISTINCT_2: 2, GateMetric.DISTINCT_3: 3}


def measurements(
    candidate: str, own: Mapping[GateMetric, Series], baseline: Mapping[GateMetric, Series]
) -> list[Measurement]:
    """The metrics of a candidate from its series and the baseline's, of responses to the same prompts (`series_of`)."""
    return [Measurement(metric, candidate, series, baseline[metric]) for metric, series in own.items()]


def series_of(texts: Sequence[str]) -> dict[GateMetric, Series]:
    """Refusals, repetition, distinct-n and self-similarity of a model's responses.

    Args:
        texts: one response to each prompt.
    """
    words = [text.split() for text in texts]
    found = {
        GateMetric.REFUSALS: Series.mean_of([float(is_refusal(text)) for text in texts]),
        GateMetric.REPETITION: _repetition(words),
        GateMetric.SELF_SIMILARITY: _self_similarity(words),
    }
    return found | {metric: _distinct(words, length) for metric, length in _DISTINCT.items()}


def _repetition(responses: Sequence[Sequence[str]]) -> Series:
    """The share of a response's 4-grams that occurred before in it, of responses that have any."""
    shares = [repeated_share(words, _REPEATED) for words in responses]
    return Series([share or 0.0 for share in shares], [float(share is not None) for share in shares])


def _distinct(responses: Sequence[Sequence[str]], length: int) -> Series:
    """Different n-grams of a response, and all of them: distinct-n (Li et al., 2016, arXiv:1510.03055) in a response.

    Over all responses at once the number would fall with their number, and not be one of a response.
    """
    different = [float(len(set(ngrams(words, length)))) for words in responses]
    return Series(different, [float(max(0, len(words) - length + 1)) for words in responses])


def _self_similarity(responses: Sequence[Sequence[str]]) -> Series:
    """How alike responses to different prompts are: the mean cosine of their counts of word pairs, over all pairs.

    1 if a model answers everything alike, as when training has collapsed it. Beginning and end of a response count as
    words, so that shared openings weigh, and one word has pairs. With vectors v of length 1 and their sum s, the mean
    of response i over the others is (v_i s - 1) / (n - 1): all pairs are compared at the price of one pass, where
    self-BLEU (Zhu et al., 2018, arXiv:1802.01886) compares a sample.

    The mean over pairs is a U-statistic, whose variance is four times what that of the means m_i over other responses
    suggests, since each response is in the means of all. The units are therefore 2 m_i - mean(m), of the same mean
    (Arvesen, 1969, doi:10.1214/aoms/1177697287).
    """
    others = len(responses) - 1
    if others < 1:
        return Series([0.0] * len(responses), [0.0] * len(responses))
    owners, pairs = _word_pairs(responses)
    kinds, counts = np.unique(owners * (pairs.max() + 1) + pairs, return_counts=True)
    owners, pairs = np.divmod(kinds, pairs.max() + 1)
    lengths = np.sqrt(np.bincount(owners, counts**2))
    weights = counts / lengths[owners]
    total = np.bincount(pairs, weights)
    means = (np.bincount(owners, weights * total[pairs]) - 1) / others
    return Series.mean_of((2 * means - means.mean()).tolist())


def _word_pairs(responses: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each pair of neighbouring words: number of the response, and number of the pair."""
    numbers = {"": 0}
    words = [
        [0, *(numbers.setdefault(word.casefold(), len(numbers)) for word in response), 0] for response in responses
    ]
    flat = np.fromiter(chain.from_iterable(words), dtype=np.int64)
    owners = np.repeat(np.arange(len(words)), [len(some) for some in words])
    within = owners[:-1] == owners[1:]
    _, pairs = np.unique((flat[:-1] * len(numbers) + flat[1:])[within], return_inverse=True)
    return owners[:-1][within], pairs
