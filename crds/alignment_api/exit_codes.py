"""Exit codes of the trainer container, and what each says to the operator.

The numbers follow sysexits.h where it has a fitting one; those above 78 are our own.
"""

from __future__ import annotations

from enum import IntEnum

from .conditions import Reason


class ExitCode(IntEnum):
    """How the trainer container ended."""

    OK = 0
    DATA_ERROR = 65  # EX_DATAERR: rows are wrong; no retry helps
    UNAVAILABLE = 69  # EX_UNAVAILABLE: the hub or another service did not answer
    INTERNAL_ERROR = 70  # EX_SOFTWARE: an exception nobody foresaw
    OUT_OF_MEMORY = 71  # EX_OSERR: device or host memory ran out
    STORAGE_ERROR = 74  # EX_IOERR: the workspace is full, read-only or torn
    PREEMPTED = 75  # EX_TEMPFAIL: told to stop, and a checkpoint was written first
    COMMUNICATION_ERROR = 76  # EX_PROTOCOL: a peer was lost or a collective timed out
    CONFIGURATION_ERROR = 78  # EX_CONFIG: an option is wrong; no retry helps
    STOPPED_BY_GUARD = 79  # the training was ruining the model; a retry would ruin it again
    FUNCTION_ERROR = 80  # a reward function of the user's, or its service, failed; no retry helps
    DEVICE_ERROR = 81  # a GPU failed: Xid, ECC, fallen off the bus
    CHECKPOINT_ERROR = 82  # there were checkpoints and none is whole; starting from zero would lose their work


REASON_OF_EXIT_CODE: dict[ExitCode, Reason] = {
    ExitCode.OK: Reason.SUCCEEDED,
    ExitCode.DATA_ERROR: Reason.DATA_ERROR,
    ExitCode.UNAVAILABLE: Reason.UNAVAILABLE,
    ExitCode.INTERNAL_ERROR: Reason.TRAINER_ERROR,
    ExitCode.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    ExitCode.STORAGE_ERROR: Reason.STORAGE_ERROR,
    ExitCode.PREEMPTED: Reason.PREEMPTED,
    ExitCode.COMMUNICATION_ERROR: Reason.COMMUNICATION_ERROR,
    ExitCode.CONFIGURATION_ERROR: Reason.CONFIGURATION_ERROR,
    ExitCode.STOPPED_BY_GUARD: Reason.STOPPED_BY_GUARD,
    ExitCode.FUNCTION_ERROR: Reason.FUNCTION_ERROR,
    ExitCode.DEVICE_ERROR: Reason.DEVICE_ERROR,
    ExitCode.CHECKPOINT_ERROR: Reason.CHECKPOINT_ERROR,
}
