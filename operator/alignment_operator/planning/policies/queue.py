"""Gangs in a Kueue queue: suspended Jobs that Kueue starts when it admits them and suspends again to preempt them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import StagePhase, StageStatus

from ...failures.failure import Failure
from ...status.waiting import Wait
from ..attempts import Attempt
from ..context import Context

_LOOK_AGAIN: Final = timedelta(seconds=15)
"""Why a gang is not admitted stands in its Workload, which is not watched."""


def waits_in_queue(stage: StageStatus, attempt: Attempt, context: Context) -> Wait | None:
    """What a gang that was never admitted waits for; None for one that was, or needs no admission."""
    if stage.phase is not StagePhase.QUEUED or attempt.job is None or not attempt.is_suspended:
        return None
    queue = context.spec.scheduling.queue_name
    why = context.observed.queue_messages.get(attempt.job["metadata"]["name"])
    text = f"waits in queue {queue}: " + (why or "Kueue has not looked at it yet")
    return Wait(Reason.QUEUED, text, look_again=context.now + _LOOK_AGAIN)


def preempted_by_queue(stage: StageStatus, attempt: Attempt) -> Failure | None:
    """The end of an attempt that was admitted and that Kueue has suspended again.

    Its Pods write a checkpoint and end. The next attempt is a new Job, and so a new Workload in the queue: each attempt
    has its own folder, and one that comes back must not write among what it left.
    """
    if stage.phase is StagePhase.QUEUED or not attempt.is_suspended:
        return None
    return Failure(Reason.PREEMPTED, "Kueue took the gang's quota back; it waits in the queue again")
