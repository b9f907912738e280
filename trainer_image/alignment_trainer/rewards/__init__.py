"""Rewards: what online methods optimize, as functions that TRL's trainers call."""

from .dry_run import DRY_RUN_ROWS, dry_run
from .function import RewardFunction
from .registry import functions, weights

__all__ = ["DRY_RUN_ROWS", "RewardFunction", "dry_run", "functions", "weights"]
