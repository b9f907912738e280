"""One module per alignment method: the members of a stage of which exactly one is set."""

from .dpo import Dpo, DpoLoss, DpoLossType
from .reward import RewardModelling
from .sft import Sft

__all__ = ["Dpo", "DpoLoss", "DpoLossType", "RewardModelling", "Sft"]
