"""Keeps a process from looking into others of the same user, whose environment holds credentials.

A process in a Landlock domain may trace, and therefore read ``/proc/<pid>/environ`` of, processes of its own domain
only (Linux 5.13; https://docs.kernel.org/userspace-api/landlock.html, "Ptrace restrictions"). It needs no privileges;
a process with the capability CAP_PERFMON, which Pods of gangs lack, can still read environments.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
_PR_SET_NO_NEW_PRIVS: Final = 38
_MAKE_BLOCK_DEVICE: Final = 1 << 11
"""A right that must be named for there to be a domain at all; none of ours ever had it."""


def apart_from_other_processes() -> bool:
    """Enter a domain of its own, for good, together with all later children.

    Returns:
        Whether this worked; an older kernel cannot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    rights = ctypes.create_string_buffer(struct.pack("Q", _MAKE_BLOCK_DEVICE), 8)
    ruleset = libc.syscall(_CREATE_RULESET, rights, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
