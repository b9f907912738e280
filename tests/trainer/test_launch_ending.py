"""What the supervisor concludes from the ends of its processes: a table."""

from __future__ import annotations

import errno

import pytest

from alignment_api.exit_codes import ExitCode
from alignment_trainer.exceptions import ConfigurationError
from alignment_trainer.failures.classify import of_exception, of_text
from alignment_trainer.launch.ending import ChildEnd, summarize
from alignment_trainer.run_files import Outcome


def outcome(rank: int, exit_code: ExitCode, time: float = 1.0) -> Outcome:
    return Outcome(rank=rank, exit_code=exit_code, time=time, message=exit_code.name)


def end(
    return_code: int = 0, outcomes: list[Outcome] | None = None, tail: str = "", oom: int = 0, stop: bool = False
) -> ChildEnd:
    return ChildEnd(return_code=return_code, outcomes=outcomes or [], tail=tail, oom_kills=oom, told_to_stop=stop)


KILLED_RANK_1 = "[1]:\n exitcode  : -15 (pid: 7)\nRoot Cause:\n[0]:\n  exitcode  : -9 (pid: 8)\n"
LOST_PEER = outcome(0, ExitCode.COMMUNICATION_ERROR)


@pytest.mark.parametrize(
    ("seen", "exit_code", "words"),
    [
        (end(0, [outcome(0, ExitCode.OK), outcome(1, ExitCode.OK)]), ExitCode.OK, ""),
        (end(0, [outcome(0, ExitCode.PREEMPTED)], stop=True), ExitCode.PREEMPTED, "PREEMPTED"),
        (end(0), ExitCode.INTERNAL_ERROR, "without a word"),
        (end(1, [LOST_PEER, outcome(1, ExitCode.DATA_ERROR, 2.0)]), ExitCode.DATA_ERROR, "rank 1"),
        (end(1, [LOST_PEER], KILLED_RANK_1), 137, "SIGKILL"),
        (end(1, [LOST_PEER], KILLED_RANK_1, oom=1), ExitCode.OUT_OF_MEMORY, "memory limit"),
        (end(1, [LOST_PEER]), ExitCode.COMMUNICATION_ERROR, "rank 0"),
        (end(1, [outcome(1, ExitCode.STOPPED_BY_GUARD)]), ExitCode.STOPPED_BY_GUARD, "STOPPED_BY_GUARD"),
        (end(-9), 137, "SIGKILL"),
        (end(-9, stop=True), ExitCode.PREEMPTED, "told to stop"),
        (end(1, [LOST_PEER], stop=True), ExitCode.PREEMPTED, "told to stop"),
        (end(1, tail="Watchdog caught collective timeout\n exitcode  : -6 (pid: 9)\n"), 76, "SIGABRT"),
        (end(1, tail=" exitcode  : -11 (pid: 9)\n"), 139, "SIGSEGV"),
        (end(1, tail="RuntimeError: CUDA out of memory. Tried to allocate\n"), ExitCode.OUT_OF_MEMORY, "Tried"),
        (end(1, tail="KeyError: 'x'\n"), ExitCode.INTERNAL_ERROR, "KeyError"),
    ],
)  # fmt: skip
def test_cause(seen: ChildEnd, exit_code: int, words: str) -> None:
    summary = summarize(seen, None)
    assert summary.exit_code == exit_code
    assert words in summary.message


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ConfigurationError("no"), ExitCode.CONFIGURATION_ERROR),
        (MemoryError(), ExitCode.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), ExitCode.STORAGE_ERROR),
        (RuntimeError("[gloo/tcp/pair.cc:534] Connection closed by peer [::1]:1"), ExitCode.COMMUNICATION_ERROR),
        (RuntimeError("NCCL error: unhandled system error"), ExitCode.COMMUNICATION_ERROR),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), ExitCode.OUT_OF_MEMORY),
        (KeyError("x"), ExitCode.INTERNAL_ERROR),
    ],
)  # fmt: skip
def test_exceptions(error: Exception, exit_code: ExitCode) -> None:
    assert of_exception(error).exit_code is exit_code


def test_ordinary_output_speaks_for_nothing() -> None:
    assert of_text("step 3 loss 0.5, 12 GB of memory in use") is None
