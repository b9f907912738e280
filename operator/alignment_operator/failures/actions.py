"""What follows from each failure reason."""

from __future__ import annotations

from enum import Enum
from typing import Final

from alignment_api.conditions import Reason


class Action(Enum):
    """What follows from a failed attempt."""

    RESTART_FREE = "free"
    """Start the next attempt; nobody's budget pays for preemption."""

    RESTART_COUNTED = "counted"
    """Start the next attempt while ``runPolicy.retries.infrastructure`` lasts."""

    FAIL = "permanent"
    """The same again would fail the same way."""


ACTION_OF_REASON: Final[dict[Reason, Action]] = {
    Reason.PREEMPTED: Action.RESTART_FREE,
    Reason.UNAVAILABLE: Action.RESTART_COUNTED,
    Reason.COMMUNICATION_ERROR: Action.RESTART_COUNTED,
    Reason.PROCESS_KILLED: Action.RESTART_COUNTED,
    Reason.POD_LOST: Action.RESTART_COUNTED,
    Reason.POD_REJECTED: Action.RESTART_COUNTED,
    Reason.NO_PROGRESS: Action.RESTART_COUNTED,
    Reason.DATA_ERROR: Action.FAIL,
    Reason.CONFIGURATION_ERROR: Action.FAIL,
    Reason.FUNCTION_ERROR: Action.FAIL,
    Reason.STOPPED_BY_GUARD: Action.FAIL,
    Reason.OUT_OF_MEMORY: Action.FAIL,
    Reason.STORAGE_ERROR: Action.FAIL,
    Reason.TRAINER_ERROR: Action.FAIL,
}
"""Every reason that a failure can have."""
