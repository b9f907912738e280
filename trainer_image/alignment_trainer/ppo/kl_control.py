"""The weight of the KL penalty: fixed, or steered towards a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_LARGEST_ERROR: Final = 0.2


@dataclass
class KlControl:
    """The weight beta of the KL penalty (Ziegler et al., 2019, arXiv:1909.08593, section 2.2).

    Attributes:
        coefficient: beta now.
        target: KL aimed at, in nats per response; None keeps beta as it is.
        horizon: responses over which beta adapts.
    """

    coefficient: float
    target: float | None = None
    horizon: int = 10_000

    def update(self, kl: float, responses: int) -> None:
        """Learn the KL of a batch of responses.

        ``e = clip(kl / target - 1, -0.2, 0.2)``, ``beta <- beta (1 + e responses / horizon)``. The paper's constant
        K of 0.1 for each batch is, as in its code, the batch's share of the horizon.

        Args:
            kl: mean KL of a response, in nats.
            responses: how many responses.
        """
        if self.target is not None:
            error = min(max(kl / self.target - 1, -_LARGEST_ERROR), _LARGEST_ERROR)
            self.coefficient *= 1 + error * responses / self.horizon
