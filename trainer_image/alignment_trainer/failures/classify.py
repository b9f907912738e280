"""Recognizes broken devices, lack of memory, lost peers and storage errors in exceptions and in output."""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

from alignment_api.exit_codes import ExitCode

from ..exceptions import TrainerError
from . import frames
from .patterns import COLLECTIVE_TIMEOUT, PATTERNS

_MAX_MESSAGE: Final = 1500
_STORAGE_ERRORS: Final = frozenset({errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.ESTALE})


class Cause(NamedTuple):
    """Why a process ended: its exit code, and words for people."""

    exit_code: ExitCode
    message: str


def of_exception(error: BaseException) -> Cause:
    """The cause that ``error`` shows."""
    if isinstance(error, TrainerError):
        return Cause(error.exit_code, error.message)
    message = f"{type(error).__name__}: {error}"[:_MAX_MESSAGE]
    if isinstance(error, MemoryError):
        return Cause(ExitCode.OUT_OF_MEMORY, message)
    if isinstance(error, OSError) and error.errno in _STORAGE_ERRORS:
        return Cause(ExitCode.STORAGE_ERROR, message)
    exit_code = of_text(message) or ExitCode.INTERNAL_ERROR
    if exit_code is ExitCode.COMMUNICATION_ERROR:  # the words name a peer at best, never the collective
        place = frames.place(frames.of_exception(error))
        return Cause(exit_code, f"{message}; in {place}" if place else message)
    return Cause(exit_code, message)


def of_text(text: str) -> ExitCode | None:
    """The exit code that ``text``, a message or the end of the output, speaks for; None if it shows nothing known."""
    for exit_code, pattern in PATTERNS:
        if pattern.search(text):
            return exit_code
    return None


def is_collective_timeout(text: str) -> bool:
    """Whether ``text`` says that a collective was waited for in vain."""
    return COLLECTIVE_TIMEOUT.search(text) is not None
