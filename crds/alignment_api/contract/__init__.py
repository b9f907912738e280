"""What operator and trainer say to each other; both import these models, and neither imports the other."""

from .layout import WORKSPACE_MOUNT, AttemptLayout, JobLayout, StageLayout
from .pod import (
    CONFIG_FILE,
    CONFIG_MAPS_MOUNT,
    PROGRESS_PORT,
    RENDEZVOUS_PORT,
    JobReference,
    RunConfig,
    token_variable,
)
from .progress import CheckpointMark, Progress, TrainerPhase
from .summary import MAX_SUMMARY_BYTES, Problem, StageData, Summary

__all__ = [
    "CONFIG_FILE",
    "CONFIG_MAPS_MOUNT",
    "MAX_SUMMARY_BYTES",
    "PROGRESS_PORT",
    "RENDEZVOUS_PORT",
    "WORKSPACE_MOUNT",
    "AttemptLayout",
    "CheckpointMark",
    "JobLayout",
    "JobReference",
    "Problem",
    "Progress",
    "RunConfig",
    "StageData",
    "StageLayout",
    "Summary",
    "TrainerPhase",
    "token_variable",
]
