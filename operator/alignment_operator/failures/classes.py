"""What follows from each failure reason: the budget that pays for a restart, and whether the node is to blame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from alignment_api.conditions import Reason


class Action(Enum):
    """What follows from a failed attempt."""

    RESTART_FREE = "free"
    """Start the next attempt; nobody's budget pays."""

    RESTART_COUNTED = "counted"
    """Start the next attempt while the budget of the class lasts."""

    FAIL = "permanent"
    """The same again would fail the same way."""


class Budget(StrEnum):
    """The budgets of ``runPolicy.retries``; the values are the names of its fields in YAML."""

    INFRASTRUCTURE = "infrastructure"
    DEVICE = "device"
    COMMUNICATION = "communication"
    STALLED = "stalled"
    STORAGE = "storage"
    OUT_OF_MEMORY = "outOfMemory"
    TRAINER_ERROR = "trainerError"


@dataclass(frozen=True)
class FailureClass:
    """What is done about failures of one reason.

    Attributes:
        action: whether another attempt follows.
        budget: what pays for it; only for `Action.RESTART_COUNTED`.
        blames_node: whether the node is suspected, so that one with several such failures is avoided.
    """

    action: Action
    budget: Budget | None = None
    blames_node: bool = False


def _counted(budget: Budget, *, blames_node: bool = False) -> FailureClass:
    return FailureClass(Action.RESTART_COUNTED, budget, blames_node)


_FREE: Final = FailureClass(Action.RESTART_FREE)
_FINAL: Final = FailureClass(Action.FAIL)

CLASS_OF_REASON: Final[dict[Reason, FailureClass]] = {
    Reason.PREEMPTED: _FREE,
    Reason.NOT_PLACED: _FREE,
    Reason.NODE_LOST: _counted(Budget.INFRASTRUCTURE, blames_node=True),
    Reason.POD_REJECTED: _counted(Budget.INFRASTRUCTURE, blames_node=True),
    Reason.POD_LOST: _counted(Budget.INFRASTRUCTURE),
    Reason.PROCESS_KILLED: _counted(Budget.INFRASTRUCTURE),
    Reason.UNAVAILABLE: _counted(Budget.INFRASTRUCTURE),
    Reason.DEVICE_ERROR: _counted(Budget.DEVICE, blames_node=True),
    Reason.COMMUNICATION_ERROR: _counted(Budget.COMMUNICATION),
    Reason.NO_PROGRESS: _counted(Budget.STALLED),
    Reason.STORAGE_ERROR: _counted(Budget.STORAGE),
    Reason.OUT_OF_MEMORY: _counted(Budget.OUT_OF_MEMORY),
    Reason.TRAINER_ERROR: _counted(Budget.TRAINER_ERROR),
    Reason.DATA_ERROR: _FINAL,
    Reason.CONFIGURATION_ERROR: _FINAL,
    Reason.FUNCTION_ERROR: _FINAL,
    Reason.CHECKPOINT_ERROR: _FINAL,
    Reason.STOPPED_BY_GUARD: _FINAL,
}
"""Every reason that a failure can have."""
