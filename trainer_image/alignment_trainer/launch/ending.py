"""How the training processes of a Pod ended -> Summary. Pure.

Several processes usually fail together, one for a reason and the others because they lost it. The cause is, in this
order: an error that a process itself reported, other than a lost peer; a signal that killed a process; a lost peer;
what the end of the output speaks for. A broken device explains a lost peer and a killed process, whoever reports it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from alignment_api.contract import Progress, Summary
from alignment_api.exit_codes import ExitCode

from ..failures.classify import is_collective_timeout, of_text
from ..run_files import Outcome
from .last_words import last_words

_WORKER_EXIT: Final = re.compile(r"exitcode\s*:\s*(-?\d+)")
_LAST_WORDS: Final = 600
MAX_MESSAGE: Final = 2048
MAX_PROBLEMS: Final = 20

_SAYS_ALL: Final = frozenset(
    {
        ExitCode.OK,
        ExitCode.PREEMPTED,
        ExitCode.DATA_ERROR,
        ExitCode.CONFIGURATION_ERROR,
        ExitCode.FUNCTION_ERROR,
        ExitCode.STOPPED_BY_GUARD,
        ExitCode.CHECKPOINT_ERROR,
    }
)
"""Endings that somebody wrote a message for; of the others, the output tells more."""
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
        stacks: by rank, the stacks of processes that were killed or waited for in vain.
        where: where those processes were, in a line.
    """

    return_code: int
    outcomes: list[Outcome]
    tail: str
    oom_kills: int
    told_to_stop: bool
    stacks: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


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
        message=message[:MAX_MESSAGE],
        problems=cause.problems[:MAX_PROBLEMS] if cause else [],
        output="" if exit_code in _SAYS_ALL else last_words(end.tail),
        progress=progress,
        checkpoint=checkpoint,
        model=result.model if result else None,
        gates=result.gates if result else None,
        candidates=result.candidates if result else None,
    )


def _cause(end: ChildEnd) -> tuple[int, str, Outcome | None]:
    failed = [outcome for outcome in end.outcomes if outcome.exit_code not in (ExitCode.OK, ExitCode.PREEMPTED)]
    reported = [outcome for outcome in failed if outcome.exit_code is not ExitCode.COMMUNICATION_ERROR]
    if reported:
        # What a process recognized explains what another could not make out; otherwise the first one counts.
        first = min(reported, key=lambda outcome: outcome.exit_code is ExitCode.INTERNAL_ERROR)
        return first.exit_code, _said(first), first
    killed_by = _killing_signal(end, failed)
    if end.oom_kills:
        return ExitCode.OUT_OF_MEMORY, "the kernel killed a process: the Pod's memory limit was reached", None
    if end.told_to_stop and end.return_code != 0:
        return ExitCode.PREEMPTED, f"told to stop; ended before a new checkpoint{_where(end)}", None
    known = of_text(end.tail)
    if (failed or killed_by is not None) and known is ExitCode.DEVICE_ERROR:
        return known, f"a device failed{_last_words(end)}", None
    if killed_by is not None:
        known = known if killed_by == signal.SIGABRT else None
        said = f"a training process was killed by {signal.Signals(killed_by).name}"
        return known or SIGNAL_BASE + killed_by, f"{said}{_where(end)}{_last_words(end) if known else ''}", None
    if failed:
        return failed[0].exit_code, f"{_said(failed[0])}{_where(end)}", failed[0]
    if end.return_code != 0:
        return known or ExitCode.INTERNAL_ERROR, f"training failed{_where(end)}{_last_words(end)}", None
    for outcome in end.outcomes:
        if outcome.exit_code is ExitCode.PREEMPTED:
            return ExitCode.PREEMPTED, outcome.message, outcome
    if not end.outcomes:
        return ExitCode.INTERNAL_ERROR, f"the training processes ended without a word{_last_words(end)}", None
    return ExitCode.OK, "", None


def _where(end: ChildEnd) -> str:
    return f"; {end.where}" if end.where else ""


def _said(outcome: Outcome) -> str:
    """The process's words, with its rank unless all ranks say the same."""
    agreed = outcome.exit_code is ExitCode.STOPPED_BY_GUARD
    return outcome.message if agreed else f"rank {outcome.rank}: {outcome.message}"


def _killing_signal(end: ChildEnd, lost_peers: Sequence[Outcome]) -> int | None:
    """The signal that killed a process first; None if only the launcher killed any, once another had ended.

    It sends SIGTERM, and SIGKILL to those that do not end; after a collective timeout these are the ones that hung.
    """
    signals = [-int(code) for code in _WORKER_EXIT.findall(end.tail) if int(code) < 0]
    if end.return_code < 0:
        signals.append(-end.return_code)
    if lost_peers:
        timed_out = is_collective_timeout(lost_peers[0].message)
        signals = [number for number in signals if number != signal.SIGTERM and not timed_out]
    unexpected = [number for number in signals if number != signal.SIGTERM]
    return next(iter(unexpected or signals), None)


def _last_words(end: ChildEnd) -> str:
    words = last_words(end.tail, _LAST_WORDS)
    return f": {words}" if words else ""
