"""What the workspace has of the attempts at a stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Final

from alignment_api.conditions import Reason
from alignment_api.contract import AttemptLayout, JobLayout, Progress, StageLayout
from alignment_api.v1alpha1 import Runtime

from ..attempt_record import AttemptRecord
from . import reading
from .cost import gpus_per_node
from .curves import Reported, entry_of, last_step
from .model import Attempt, State

MAX_MESSAGE: Final = 1000
_CONSEQUENCES: Final = frozenset({Reason.COMMUNICATION_ERROR.value, Reason.PREEMPTED.value})
"""How Pods of a gang end because another one did."""


@dataclass(frozen=True)
class AttemptFiles:
    """All that is read of one attempt.

    Attributes:
        attempt: the attempt.
        reported: its metrics.
        resolved: its resolved configuration, or nothing.
        progress: how far it came, if it could still say so.
    """

    attempt: Attempt
    reported: Reported
    resolved: Mapping[str, Any]
    progress: Progress | None


def attempts_of(
    layout: JobLayout, stage: StageLayout, runtime: Runtime, *, complete: bool, now: datetime, history_bytes: int
) -> list[AttemptFiles]:
    """The attempts at a stage, in their order.

    Args:
        layout: the job's folders.
        stage: the stage's folders.
        runtime: what the specification says of its gang, for attempts that left no record.
        complete: whether the stage has its result.
        now: until when an attempt that runs has cost something.
        history_bytes: how much of their metrics is read.
    """
    numbers = _numbers(stage)
    most = history_bytes // max(1, len(numbers))
    found = [
        _read(layout, number, stage.attempt(number), runtime, complete or number != numbers[-1], now, most)
        for number in numbers
    ]
    if complete and found and found[-1].attempt.state is State.LOST:  # its record was lost, not its result
        found[-1] = _changed(found[-1], state=State.SUCCEEDED)
    return [_before(each, after) for each, after in zip_longest(found, found[1:])]


def _numbers(stage: StageLayout) -> list[int]:
    try:
        names = [path.name for path in stage.attempt(1).root.parent.iterdir()]
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 10)


def _read(
    layout: JobLayout, number: int, own: AttemptLayout, runtime: Runtime, over: bool, now: datetime, most: int
) -> AttemptFiles:
    record = reading.model(own.record, AttemptRecord)
    ending = _cause(reading.json_object(path) for path in sorted(_endings(own)))
    resolved = reading.json_object(own.resolved)
    lines = list(reading.json_lines(own.metrics, most))
    entries = [entry for line in lines if (entry := entry_of(line)) is not None]
    times = [time for line in (*lines[:1], *lines[-1:]) if (time := _time(line)) is not None]
    resumed_from = resolved.get("resumedFrom")
    progress = record.progress if record is not None else None
    state, reason, message = _state(record, ending, over=over)
    started = record.started_at if record is not None else min(times, default=None)
    ended = now if state is State.RUNNING else _ended(record, ending, times, own)
    steps = [last_step(entries), progress.step if progress else None, _step_of(ending.get("progress"))]
    attempt = Attempt(
        number=number,
        state=state,
        started_at=started,
        ended_at=None if state is State.RUNNING else ended,
        seconds=max(0.0, (ended - started).total_seconds()) if started and ended else 0.0,
        nodes=record.nodes if record is not None else runtime.nodes,
        gpus_per_node=record.gpus_per_node if record is not None else gpus_per_node(runtime),
        resumed_from=resumed_from if isinstance(resumed_from, int) else None,
        last_step=max((step for step in steps if step is not None), default=None),
        reason=reason,
        message=message[:MAX_MESSAGE],
        pod=_text(ending.get("pod")),
        node=_text(ending.get("node")),
        evidence=layout.relative(own.evidence) if ending else None,
    )
    return AttemptFiles(attempt, Reported(attempt.resumed_from, entries), resolved, progress)


def _state(record: AttemptRecord | None, ending: Mapping[str, Any], *, over: bool) -> tuple[State, str | None, str]:
    """State of an attempt, its failure class and words on its end."""
    if ending:
        reason, message = _text(ending.get("class")), _text(ending.get("message")) or ""
    elif record is not None and record.ended_at is not None:
        reason, message = record.reason, record.message
    else:
        return (State.LOST if over else State.RUNNING), None, ""
    if reason == Reason.SUCCEEDED:
        return State.SUCCEEDED, None, ""
    return (State.STOPPED if reason == Reason.PREEMPTED else State.FAILED), reason, message


def _endings(own: AttemptLayout) -> list[Any]:
    try:
        return list(own.evidence.glob("ending-*.json"))
    except OSError:
        return []


def _cause(endings: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """How the Pod ended that the others ended because of; empty if none left a word."""
    return min(
        filter(None, endings),
        key=lambda ending: (ending.get("class") in _CONSEQUENCES, str(ending.get("time"))),
        default={},
    )


def _ended(
    record: AttemptRecord | None, ending: Mapping[str, Any], times: Sequence[datetime], own: AttemptLayout
) -> datetime | None:
    """When an attempt ended, or gave its last sign of life."""
    if record is not None and record.ended_at is not None:
        return record.ended_at
    signs = [*times, *filter(None, [_time(ending)])]
    for path in (own.metrics, own.checkpoints, own.record):
        try:
            signs.append(datetime.fromtimestamp(path.stat().st_mtime, UTC))
        except OSError:
            continue
    return max(signs, default=None)


def _before(own: AttemptFiles, after: AttemptFiles | None) -> AttemptFiles:
    """The attempt in the light of the next one: what that had to do again, and that this was over by then."""
    if after is None:
        return own
    attempt, following = own.attempt, after.attempt
    changes: dict[str, Any] = {}
    if attempt.last_step is not None and following.resumed_from is not None:
        changes["lost_steps"] = max(0, attempt.last_step - following.resumed_from)
    if attempt.started_at and attempt.ended_at and following.started_at and following.started_at < attempt.ended_at:
        changes["ended_at"] = following.started_at
        changes["seconds"] = max(0.0, (following.started_at - attempt.started_at).total_seconds())
    return _changed(own, **changes)


def _changed(files: AttemptFiles, **changes: Any) -> AttemptFiles:
    return AttemptFiles(files.attempt.model_copy(update=changes), files.reported, files.resolved, files.progress)


def _time(value: Any) -> datetime | None:
    """The time that an object names; None if it names none that makes sense."""
    try:
        time = datetime.fromisoformat(value["time"])
    except (KeyError, TypeError, ValueError):
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _step_of(progress: Any) -> int | None:
    step = progress.get("step") if isinstance(progress, dict) else None
    return step if isinstance(step, int) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
