"""Win rates and their confidence intervals. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist


@dataclass(frozen=True)
class Tally:
    """Outcomes of comparisons, from the candidate's side."""

    wins: int = 0
    ties: int = 0
    losses: int = 0

    @classmethod
    def of_differences(cls, differences: Iterable[float], tie_margin: float = 0.0) -> Tally:
        """Count differences (candidate minus baseline); those no larger than ``tie_margin`` either way are ties."""
        wins = ties = losses = 0
        for difference in differences:
            if abs(difference) <= tie_margin:
                ties += 1
            elif difference > 0:
                wins += 1
            else:
                losses += 1
        return cls(wins, ties, losses)

    @property
    def samples(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def rate(self) -> float | None:
        """Wins plus half the ties, over all comparisons; None without any."""
        return (self.wins + self.ties / 2) / self.samples if self.samples else None


def interval(tally: Tally, confidence: float) -> tuple[float, float]:
    """Two-sided Wilson score interval of ``tally.rate`` (Wilson, 1927, doi:10.1080/01621459.1927.10502953).

    The formula is for a mean of outcomes 0 and 1. Ties count 1/2; a score s of 0, 1/2 or 1 has E[s^2] <= E[s], so its
    variance is at most that of a coin with the same mean, and the interval covers at least as often as it says.

    Args:
        tally: outcomes on independent prompts; at least one.
        confidence: coverage, such as 0.95.

    Returns:
        Lower and upper bound, within [0, 1].

    Raises:
        ValueError: there are no outcomes.
    """
    n, rate = tally.samples, tally.rate
    if rate is None:
        raise ValueError("an interval needs at least one comparison")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    center = rate + z * z / (2 * n)
    spread = z * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (center - spread) / scale), min(1.0, (center + spread) / scale)
