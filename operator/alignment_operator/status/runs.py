"""Steps in the life of what runs in attempts: Prepare and every stage."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeVar

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import TERMINAL_STAGE_PHASES, AttemptFailure, RunStatus, StagePhase

from ..failures.failure import Failure
from .text import bounded

Run = TypeVar("Run", bound=RunStatus)

LIVE_PHASES: Final = frozenset({StagePhase.QUEUED, StagePhase.STARTING, StagePhase.RUNNING, StagePhase.CHECKPOINTING})
"""Phases in which the current attempt's Job exists."""

_MAX_FAILURES: Final = 10
_MAX_OUTPUT: Final = 1024


def is_live(run: RunStatus) -> bool:
    """Whether its current attempt is believed to be going on."""
    return run.phase in LIVE_PHASES


def is_terminal(run: RunStatus) -> bool:
    """Whether nothing more will happen to it."""
    return run.phase in TERMINAL_STAGE_PHASES


def changed(run: Run, phase: StagePhase, reason: Reason, message: str, **fields: Any) -> Run:
    """``run`` in ``phase``, with why."""
    update = {"phase": phase, "reason": reason.value, "message": bounded(message) or None, **fields}
    return run.model_copy(update=update)


def started(run: Run, number: int, now: datetime, *, in_queue: bool = False) -> Run:
    """``run`` with attempt ``number`` begun, or put into a queue."""
    return changed(
        run,
        StagePhase.QUEUED if in_queue else StagePhase.STARTING,
        Reason.QUEUED if in_queue else Reason.STARTING,
        f"attempt {number} is put into its queue" if in_queue else f"attempt {number} is being started",
        attempt=number,
        attempt_start_time=now,
        start_time=run.start_time or now,
    )


def queued(run: Run, message: str) -> Run:
    """``run`` whose attempt exists and may not start yet."""
    return changed(run, StagePhase.QUEUED, Reason.QUEUED, message)


def waiting(run: Run, reason: Reason, message: str) -> Run:
    """``run`` without a live attempt, waiting for what ``reason`` says."""
    return changed(run, StagePhase.WAITING, reason, message)


def succeeded(run: Run, now: datetime) -> Run:
    """``run`` at its good end."""
    return changed(run, StagePhase.SUCCEEDED, Reason.SUCCEEDED, f"attempt {run.attempt} succeeded", completion_time=now)


def failed(run: Run, reason: Reason, message: str, now: datetime) -> Run:
    """``run`` at its bad end."""
    return changed(run, StagePhase.FAILED, reason, message, completion_time=now)


def skipped(run: Run, message: str, now: datetime) -> Run:
    """``run`` stopped, or never started, because of something else."""
    return changed(run, StagePhase.SKIPPED, Reason.SKIPPED, message, completion_time=now)


def with_failure(run: Run, failure: Failure, now: datetime) -> Run:
    """``run`` with the failure of its current attempt in its record; the phase is left to the caller."""
    entry = AttemptFailure(
        attempt=run.attempt,
        reason=failure.reason.value,
        message=bounded(failure.message),
        pod=failure.pod,
        node=failure.node,
        exit_code=failure.exit_code,
        output=bounded(failure.output, _MAX_OUTPUT) if failure.output else None,
        evidence=failure.evidence,
        time=now,
    )
    return run.model_copy(update={"failures": [*(run.failures or []), entry][-_MAX_FAILURES:]})
