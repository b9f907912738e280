"""What the supervisor concludes from the ends of its processes: a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alignment_api.contract import Problem
from alignment_api.exit_codes import ExitCode
from alignment_trainer.launch.ending import ChildEnd, summarize
from alignment_trainer.run_files import Outcome


def outcome(rank: int, exit_code: ExitCode, time: float = 1.0) -> Outcome:
    return Outcome(rank=rank, exit_code=exit_code, time=time, message=exit_code.name)


def end(
    return_code: int = 0, outcomes: list[Outcome] | None = None, tail: str = "", oom: int = 0, stop: bool = False
) -> ChildEnd:
    return ChildEnd(return_code=return_code, outcomes=outcomes or [], tail=tail, oom_kills=oom, told_to_stop=stop)


KILLED_RANK_1 = "[1]:\n exitcode  : -15 (pid: 7)\nRoot Cause:\n[0]:\n  exitcode  : -9 (pid: 8)\n"
TIMED_OUT = outcome(0, ExitCode.COMMUNICATION_ERROR).model_copy(
    update={"message": "Timed out waiting 5000ms for recv operation"}
)
XID = "NVRM: Xid (PCI:0000:5d:00): 79, pid=7, GPU has fallen off the bus."
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
        (end(1, [LOST_PEER], " exitcode  : -15 (pid: 7)\n"), ExitCode.COMMUNICATION_ERROR, "rank 0"),
        (end(1, [TIMED_OUT], KILLED_RANK_1), ExitCode.COMMUNICATION_ERROR, "Timed out"),
        (end(1, [outcome(1, ExitCode.STOPPED_BY_GUARD)]), ExitCode.STOPPED_BY_GUARD, "STOPPED_BY_GUARD"),
        (end(-9), 137, "SIGKILL"),
        (end(-9, stop=True), ExitCode.PREEMPTED, "told to stop"),
        (end(1, [LOST_PEER], stop=True), ExitCode.PREEMPTED, "told to stop"),
        (end(1, tail="Watchdog caught collective timeout\n exitcode  : -6 (pid: 9)\n"), 76, "SIGABRT"),
        (end(1, tail=" exitcode  : -11 (pid: 9)\n"), 139, "SIGSEGV"),
        (end(1, [LOST_PEER], f"{XID}\n"), ExitCode.DEVICE_ERROR, "fallen off"),
        (end(1, [LOST_PEER], f"{XID}\n exitcode  : -7 (pid: 9)\n"), ExitCode.DEVICE_ERROR, "fallen off"),
        (end(1, [LOST_PEER], f"{XID}\n", stop=True), ExitCode.PREEMPTED, "told to stop"),
        (end(1, tail="RuntimeError: CUDA out of memory. Tried to allocate\n"), ExitCode.OUT_OF_MEMORY, "Tried"),
        (end(1, tail="KeyError: 'x'\n"), ExitCode.INTERNAL_ERROR, "KeyError"),
    ],
)  # fmt: skip
def test_cause(seen: ChildEnd, exit_code: int, words: str) -> None:
    summary = summarize(seen, None)
    assert summary.exit_code == exit_code
    assert words in summary.message


def test_what_a_process_recognized_outranks_what_another_did_not() -> None:
    outcomes = [outcome(0, ExitCode.INTERNAL_ERROR, 1.0), outcome(1, ExitCode.DEVICE_ERROR, 2.0)]
    assert summarize(end(1, outcomes), None).exit_code == ExitCode.DEVICE_ERROR


def test_where_processes_hung_is_told_and_the_end_of_the_output_kept() -> None:
    summary = summarize(replace(end(1, [LOST_PEER], "step 3\nno answer\n"), where="rank 1 in spin (x.py:3)"), None)
    assert summary.message == "rank 0: COMMUNICATION_ERROR; rank 1 in spin (x.py:3)"
    assert summary.output == "step 3\nno answer"


def test_output_is_left_out_where_the_message_says_all() -> None:
    assert summarize(end(1, [outcome(0, ExitCode.DATA_ERROR)], "Traceback\n"), None).output == ""


def test_a_long_story_still_makes_a_summary() -> None:
    problems = [Problem(field=str(row), message="wrong") for row in range(500)]
    told = outcome(0, ExitCode.DATA_ERROR).model_copy(update={"message": "x" * 9000, "problems": problems})
    summary = summarize(end(1, [told]), None)
    assert len(summary.message) == 2048
    assert len(summary.problems) == 20
