"""What operator and trainer say to each other; both import these models, and neither imports the other."""

from .layout import WORKSPACE_MOUNT, AttemptLayout, JobLayout, StageLayout
from .pod import (
    CONFIG_FILE,
    CONFIG_MAPS_MOUNT,
    GANG_GRACE_SECONDS,
    IMAGE_VARIABLE,
    NODE_NAME_VARIABLE,
    POD_NAME_VARIABLE,
    PROGRESS_PORT,
    RENDEZVOUS_PORT,
    REPORT_WAIT_VARIABLE,
    SECRET_VARIABLE_PREFIX,
    JobReference,
    RunConfig,
    token_variable,
)
from .progress import METRIC_NAME_LENGTH, CheckpointMark, Progress, TrainerPhase, is_metric_name
from .shape import AttemptShape, shape_of, with_shape
from .summary import MAX_SUMMARY_BYTES, Problem, StageData, Summary

__all__ = [
    "CONFIG_FILE",
    "CONFIG_MAPS_MOUNT",
    "GANG_GRACE_SECONDS",
    "IMAGE_VARIABLE",
    "MAX_SUMMARY_BYTES",
    "METRIC_NAME_LENGTH",
    "NODE_NAME_VARIABLE",
    "POD_NAME_VARIABLE",
    "PROGRESS_PORT",
    "RENDEZVOUS_PORT",
    "REPORT_WAIT_VARIABLE",
    "SECRET_VARIABLE_PREFIX",
    "WORKSPACE_MOUNT",
    "AttemptLayout",
    "AttemptShape",
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
    "is_metric_name",
    "shape_of",
    "token_variable",
    "with_shape",
]
