"""One module per alignment method: the members of a stage of which exactly one is set."""

from .cpo import Cpo, CpoLoss, SimPo
from .dpo import Dpo, DpoLoss, DpoLossType, FDivergence, FDivergenceType
from .grpo import Grpo, GrpoLoss, RewardScaling
from .kto import Kto, KtoLoss
from .online import OnlineMethod
from .orpo import Orpo
from .ppo import AdaptiveKl, Ppo, ValueModel
from .reward import RewardModelling
from .rewards import Reward
from .rloo import Rloo
from .sft import LossOn, Sft

__all__ = [
    "AdaptiveKl",
    "Cpo",
    "CpoLoss",
    "Dpo",
    "DpoLoss",
    "DpoLossType",
    "FDivergence",
    "FDivergenceType",
    "Grpo",
    "GrpoLoss",
    "Kto",
    "KtoLoss",
    "LossOn",
    "OnlineMethod",
    "Orpo",
    "Ppo",
    "Reward",
    "RewardModelling",
    "RewardScaling",
    "Rloo",
    "Sft",
    "SimPo",
    "ValueModel",
]
