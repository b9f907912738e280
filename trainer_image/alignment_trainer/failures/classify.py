"""Recognizes out of memory, lost peers and storage errors in exceptions and in the output of a dead process."""

from __future__ import annotations

import errno
import re
from typing import Final, NamedTuple

from alignment_api.exit_codes import ExitCode

from ..exceptions import TrainerError

_MAX_MESSAGE: Final = 1500
_STORAGE_ERRORS: Final = frozenset({errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.ESTALE})

_PATTERNS: Final = (
    (
        ExitCode.OUT_OF_MEMORY,
        re.compile(
            r"CUDA out of memory|torch\.OutOfMemoryError|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED"
            r"|DefaultCPUAllocator: can't allocate memory|std::bad_alloc|Cannot allocate memory"
        ),
    ),
    (
        ExitCode.STORAGE_ERROR,
        re.compile(r"No space left on device|Read-only file system|Disk quota exceeded|Stale file handle"),
    ),
    (
        ExitCode.COMMUNICATION_ERROR,
        re.compile(
            r"Connection closed by peer|Connection reset by peer|gloo.*(timed out|connect failure|failed)"
            r"|NCCL (error|watchdog)|ncclRemoteError|ncclSystemError|ncclInternalError|Watchdog caught collective"
            r"|DistBackendError|DistNetworkError|DistStoreError|Broken pipe|failed to recv, got 0 bytes"
            r"|client socket has (timed out|failed)|Timed out (after \d+ seconds )?waiting for clients"
        ),
    ),
)


class Cause(NamedTuple):
    """Why a process ended: its exit code, and words for people."""

    exit_code: ExitCode
    message: str


def of_exception(error: BaseException) -> Cause:
    """The cause that ``error`` shows."""
    message = f"{type(error).__name__}: {error}"[:_MAX_MESSAGE]
    if isinstance(error, TrainerError):
        return Cause(error.exit_code, error.message)
    if isinstance(error, MemoryError):
        return Cause(ExitCode.OUT_OF_MEMORY, message)
    if isinstance(error, OSError) and error.errno in _STORAGE_ERRORS:
        return Cause(ExitCode.STORAGE_ERROR, message)
    return Cause(of_text(message) or ExitCode.INTERNAL_ERROR, message)


def of_text(text: str) -> ExitCode | None:
    """The exit code that ``text``, a message or the end of the output, speaks for; None if it shows nothing known."""
    for exit_code, pattern in _PATTERNS:
        if pattern.search(text):
            return exit_code
    return None
