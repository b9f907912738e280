"""What the guard watches, and from which value on: a stage's own thresholds, else its method's.

The defaults are for ruin, not for a bad choice of options: a stopped run costs more than a late stop.

``maxKl``
    GRPO and RLOO report the KL to the reference per token. At 5 nats the reference gives a response's tokens 1/150 of
    the policy's probability: no longer its language. KTO and PPO report it per response; the further away, the less a
    reward model's score means (Gao et al., 2022, arXiv:2210.10760), and 100 nats are beyond useful runs.
``maxRewardMargin``
    The gradient of log sigmoid is 1e-13 at 30: no preference is left to be learnt there, and only likelihood to lose
    (Pal et al., 2024, arXiv:2402.13228). Without a reference the difference of two responses' own likelihoods is in
    the margin: SimPO, with its larger beta, gets more room, and so does CPO, which does not even average over tokens.
``maxLengthGrowth``
    Responses of several times their first length come from a reward that pays for length (Singhal et al., 2023,
    arXiv:2310.03716). GRPO gets more room: reasoning grows on purpose (arXiv:2501.12948, figure 3).
``maxRepetition``
    Share of 4-grams that occurred before in the response: 0.005 in texts of people, 0.44 in greedy text of a language
    model (Welleck et al., 2019, arXiv:1908.04319, table 2), 0.9 and more in loops.
``minRewardStd``
    GRPO and RLOO learn from differences of rewards between responses: without any, the gradient is zero. Some batches
    without are usual, so `LASTING` times the patience must pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from alignment_api.v1alpha1 import Guard, Method, Stage


class Quantity(StrEnum):
    """What is watched, by the field of the API that holds its threshold."""

    KL = "maxKl"
    MARGIN = "maxRewardMargin"
    LENGTH_GROWTH = "maxLengthGrowth"
    REPETITION = "maxRepetition"
    REWARD_STD = "minRewardStd"


LASTING: Final = 10
"""How many times the patience a reward without variance must last."""

_ONLINE: Final = {Quantity.REPETITION: 0.75, Quantity.LENGTH_GROWTH: 5.0, Quantity.REWARD_STD: 1e-6}

DEFAULTS: Final[dict[Method, dict[Quantity, float]]] = {
    Method.SFT: {},
    Method.REWARD: {Quantity.MARGIN: 50.0},
    Method.DPO: {Quantity.MARGIN: 30.0},
    Method.KTO: {Quantity.MARGIN: 30.0, Quantity.KL: 100.0},
    Method.ORPO: {Quantity.MARGIN: 30.0},
    Method.CPO: {Quantity.MARGIN: 200.0},
    Method.SIMPO: {Quantity.MARGIN: 50.0},
    Method.GRPO: {**_ONLINE, Quantity.KL: 5.0, Quantity.LENGTH_GROWTH: 10.0},
    Method.RLOO: {**_ONLINE, Quantity.KL: 5.0},
    Method.PPO: {**_ONLINE, Quantity.KL: 100.0},
}


@dataclass(frozen=True)
class Threshold:
    """When a quantity is out of bounds.

    Attributes:
        quantity: what is watched.
        limit: its largest value, or its smallest for `Quantity.REWARD_STD`.
        reports: how many reports in a row beyond it stop the stage.
        is_default: whether the method chose the limit.
    """

    quantity: Quantity
    limit: float
    reports: int
    is_default: bool

    @property
    def is_minimum(self) -> bool:
        """Whether smaller values are beyond it."""
        return self.quantity is Quantity.REWARD_STD

    @property
    def ruins(self) -> bool:
        """Whether what is beyond it harms the weights; a reward without variance leaves them as they are."""
        return self.quantity is not Quantity.REWARD_STD

    def passes(self, value: float) -> bool:
        """Whether ``value`` is within bounds; NaN never is."""
        return value >= self.limit if self.is_minimum else value <= self.limit


def guard_of(stage: Stage) -> Guard:
    """The stage's guard, or the one that stages without their own have."""
    return stage.guard or Guard()


def thresholds_of(stage: Stage) -> tuple[Threshold, ...]:
    """What is watched in ``stage``: its own thresholds, and the method's for those that are unset."""
    guard = guard_of(stage)
    own = {
        Quantity.KL: guard.max_kl,
        Quantity.MARGIN: guard.max_reward_margin,
        Quantity.LENGTH_GROWTH: guard.max_length_growth,
        Quantity.REPETITION: guard.max_repetition,
        Quantity.REWARD_STD: guard.min_reward_std,
    }
    found = []
    for quantity, value in own.items():
        limit = DEFAULTS[stage.method].get(quantity) if value is None else value
        if limit is not None:
            reports = guard.patience * (LASTING if quantity is Quantity.REWARD_STD else 1)
            found.append(Threshold(quantity, limit, reports, is_default=value is None))
    return tuple(found)
