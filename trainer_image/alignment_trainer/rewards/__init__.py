"""Rewards: what online methods optimize, as functions that TRL's trainers call."""

from .function import RewardFunction
from .registry import functions, weights

__all__ = ["RewardFunction", "functions", "weights"]
