"""From the metrics of a report to the quantities that the guard watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..ngrams import repeated_share
from .thresholds import Quantity

Values = Mapping[str, float | None]
"""Metrics by TRL's names; TRL reports None where there was nothing to average."""

BASELINE_REPORTS: Final = 3
"""Reports whose mean response length later ones are compared with."""

MEAN_LENGTH: Final = "completions/mean_length"
_SHORTEST_BASELINE: Final = 16.0
"""Tokens; growth from a few tokens to a few more is no explosion."""

_NGRAM: Final = 4


def kl(values: Values) -> float | None:
    """KL to the reference; TRL's ``kl``, or PPO's ``objective/kl``."""
    return _first(values, "kl", "objective/kl")


def margin(values: Values) -> float | None:
    """Distance between the rewards of chosen and rejected responses, whichever is ahead."""
    value = _first(values, "rewards/margins", "margin")
    return None if value is None else abs(value)


def reward_std(values: Values) -> float | None:
    """Standard deviation of the rewards, 0 if there is none within any group of responses to one prompt."""
    if values.get("frac_reward_zero_std") == 1.0:
        return 0.0
    return values.get("reward_std")


def length_growth(values: Values, first_lengths: Sequence[float]) -> float | None:
    """Mean response length as a multiple of that of the first reports; None before these are complete.

    Args:
        values: metrics of a report.
        first_lengths: mean lengths of the first reports, in tokens.
    """
    length = values.get(MEAN_LENGTH)
    if length is None or len(first_lengths) < BASELINE_REPORTS:
        return None
    first = first_lengths[:BASELINE_REPORTS]
    return length / max(sum(first) / len(first), _SHORTEST_BASELINE)


def repetition(responses: Sequence[Sequence[int]]) -> float | None:
    """Share of the 4-grams of token ids that occurred before in the same response (seq-rep-4, arXiv:1908.04319).

    Args:
        responses: token ids of each response; those with fewer than four tokens do not count.

    Returns:
        The mean over responses, or None if none counts.
    """
    shares = [share for response in responses if (share := repeated_share(response, _NGRAM)) is not None]
    return sum(shares) / len(shares) if shares else None


def read(values: Values, first_lengths: Sequence[float]) -> dict[Quantity, float]:
    """The quantities that a report has numbers for.

    Args:
        values: metrics of the report; `REPETITION_METRIC` is among them if responses were looked at.
        first_lengths: mean response lengths of the first reports, in tokens.
    """
    readers: dict[Quantity, Callable[[], float | None]] = {
        Quantity.KL: lambda: kl(values),
        Quantity.MARGIN: lambda: margin(values),
        Quantity.LENGTH_GROWTH: lambda: length_growth(values, first_lengths),
        Quantity.REPETITION: lambda: values.get(REPETITION_METRIC),
        Quantity.REWARD_STD: lambda: reward_std(values),
    }
    return {quantity: value for quantity, reader in readers.items() if (value := reader()) is not None}


REPETITION_METRIC: Final = "completions/repeated_4grams"
"""Name of `repetition` among the metrics."""


def _first(values: Values, *names: str) -> float | None:
    return next((value for name in names if (value := values.get(name)) is not None), None)
