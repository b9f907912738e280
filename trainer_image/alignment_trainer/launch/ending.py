"""How the training processes of a Pod ended -> Summary. Pure.

Several processes usually fail together, one for a reason and the others because they lost it. The cause is, in this
order: an error that a process itself reported, other than a lost peer; a signal that killed a process; a lost peer;
what the end of the output speaks for.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Final

from alignment_api.contract import Progress, Summary
from alignment_api.exit_codes import ExitCode

from ..failures.classify import of_text
from ..run_files import Outcome

_WORKER_EXIT: Final = re.compile(r"exitcode\s*:\s*(-?\d+)")
_LAST_WORDS: Final = 600
SIGNAL_BASE: Final = 128
"""A process killed by signal n ends a container with exit code 128 + n."""


@dataclass(frozen=True)
class ChildEnd:
    """What the supervisor saw of the launcher's end.

    Attributes:
        return_code: the launcher's exit code, negative for a signal.
        outcomes: what the training processes reported, first to end first.
        tail: end of the output.
        oom_kills: processes the kernel killed in this container for lack of memory.
        told_to_stop: whether the Pod had been told to stop.
    """

    return_code: int
    outcomes: list[Outcome]
    tail: str
    oom_kills: int
    told_to_stop: bool


def summarize(end: ChildEnd, progress: Progress | None) -> Summary:
    """The container's Summary.

    Args:
        end: what was seen.
        progress: the last progress of this Pod's first process.
    """
    exit_code, message, cause = _cause(end)
    result = end.outcomes[0] if end.outcomes else None
    for outcome in end.outcomes:  # rank 0 has the results
        if outcome.rank == 0:
            result = outcome
    checkpoint = (result.checkpoint if result else None) or (progress.checkpoint if progress else None)
    return Summary(
        exit_code=exit_code,
        message=message,
        problems=cause.problems if cause else [],
        progress=progress,
        checkpoint=checkpoint,
        model=result.model if result else None,
        gates=result.gates if result else None,
    )


def _cause(end: ChildEnd) -> tuple[int, str, Outcome | None]:
    failed = [outcome for outcome in end.outcomes if outcome.exit_code not in (ExitCode.OK, ExitCode.PREEMPTED)]
    for outcome in failed:
        if outcome.exit_code is not ExitCode.COMMUNICATION_ERROR:
            return outcome.exit_code, _said(outcome), outcome
    killed_by = _killing_signal(end)
    if end.oom_kills:
        return ExitCode.OUT_OF_MEMORY, "the kernel killed a process: the Pod's memory limit was reached", None
    if end.told_to_stop and end.return_code != 0:
        return ExitCode.PREEMPTED, "told to stop; ended before a new checkpoint", None
    if killed_by is not None:
        name = signal.Signals(killed_by).name
        known = of_text(end.tail) if killed_by == signal.SIGABRT else None
        code = known or SIGNAL_BASE + killed_by
        return code, f"a training process was killed by {name}{_last_words(end) if known else ''}", None
    if failed:
        return failed[0].exit_code, _said(failed[0]), failed[0]
    if end.return_code != 0:
        return of_text(end.tail) or ExitCode.INTERNAL_ERROR, f"training failed{_last_words(end)}", None
    for outcome in end.outcomes:
        if outcome.exit_code is ExitCode.PREEMPTED:
            return ExitCode.PREEMPTED, outcome.message, outcome
    if not end.outcomes:
        return ExitCode.INTERNAL_ERROR, f"the training processes ended without a word{_last_words(end)}", None
    return ExitCode.OK, "", None


def _said(outcome: Outcome) -> str:
    """The process's words, with its rank unless all ranks say the same."""
    agreed = outcome.exit_code is ExitCode.STOPPED_BY_GUARD
    return outcome.message if agreed else f"rank {outcome.rank}: {outcome.message}"


def _killing_signal(end: ChildEnd) -> int | None:
    """The signal that killed a process first; SIGTERM only if there is no other: the launcher ends peers with it."""
    signals = [-int(code) for code in _WORKER_EXIT.findall(end.tail) if int(code) < 0]
    if end.return_code < 0:
        signals.append(-end.return_code)
    unexpected = [number for number in signals if number != signal.SIGTERM]
    return next(iter(unexpected or signals), None)


def _last_words(end: ChildEnd) -> str:
    lines = [line.strip() for line in end.tail.splitlines() if line.strip()]
    return ": " + "\n".join(lines)[-_LAST_WORDS:] if lines else ""
