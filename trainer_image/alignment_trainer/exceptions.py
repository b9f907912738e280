"""Every error that the trainer raises on purpose; the class decides the exit code.

::

    TrainerError                 exit code of its class
    ├── DataError                rows are wrong; no retry helps
    ├── ConfigurationError       an option is wrong; no retry helps
    ├── FunctionError            a reward function of the user's failed
    ├── GuardError               the training was ruining the model and was stopped
    ├── UnavailableError         the hub or another service did not answer
    ├── StorageError             the workspace is full, read-only or torn
    ├── CheckpointError          there were checkpoints, and none of them is whole
    ├── CommunicationError       a peer was lost or a collective timed out
    ├── DeviceError              a GPU failed, or is not there
    └── DeviceMemoryError        device or host memory ran out

Preempted                        told to stop
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from alignment_api.contract import Problem
from alignment_api.exit_codes import ExitCode


class TrainerError(Exception):
    """An error with an exit code, and the fields of the manifest that the user must change.

    Args:
        message: what happened, for people.
        problems: what to change; empty when the manifest is not to blame.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL_ERROR

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {problem}" for problem in self.problems)])


class DataError(TrainerError):
    """Rows are wrong."""

    exit_code = ExitCode.DATA_ERROR


class ConfigurationError(TrainerError):
    """An option is wrong, by itself or for this model or device."""

    exit_code = ExitCode.CONFIGURATION_ERROR


class FunctionError(TrainerError):
    """A reward function of the user's, or the service behind it, failed."""

    exit_code = ExitCode.FUNCTION_ERROR


class GuardError(TrainerError):
    """The numbers of a training say that it is ruining the model."""

    exit_code = ExitCode.STOPPED_BY_GUARD


class UnavailableError(TrainerError):
    """The hub or another service did not answer."""

    exit_code = ExitCode.UNAVAILABLE


class StorageError(TrainerError):
    """The workspace is full, read-only or torn."""

    exit_code = ExitCode.STORAGE_ERROR


class CheckpointError(TrainerError):
    """There were checkpoints, and none of them can be resumed from."""

    exit_code = ExitCode.CHECKPOINT_ERROR


class CommunicationError(TrainerError):
    """A peer was lost or a collective timed out."""

    exit_code = ExitCode.COMMUNICATION_ERROR


class DeviceError(TrainerError):
    """A GPU failed, or is not there though the Pod was given one."""

    exit_code = ExitCode.DEVICE_ERROR


class DeviceMemoryError(TrainerError):
    """Device or host memory ran out."""

    exit_code = ExitCode.OUT_OF_MEMORY


class Preempted(BaseException):
    """The process was told to stop.

    As with KeyboardInterrupt, nothing that goes on after an error may go on after it.
    """


_PRECEDENCE: Final[list[type[TrainerError]]] = [
    ConfigurationError,
    DataError,
    FunctionError,
    StorageError,
    UnavailableError,
]


def combined(errors: Sequence[TrainerError]) -> TrainerError:
    """One error with the problems of all.

    What the user must change comes before what a retry may cure: an unreachable hub decides the class only when
    nothing else is wrong.
    """
    first = min(errors, key=lambda error: _PRECEDENCE.index(type(error)))
    problems = list(dict.fromkeys((p.field, p.message) for error in errors for p in error.problems))
    if len(errors) == 1:
        return first
    count = f"{len(problems)} problems were found" if len(problems) > 1 else first.message
    return type(first)(count, [Problem(field=field, message=message) for field, message in problems])
