"""How soon a new status is written; pure."""

from __future__ import annotations

from typing import Final

from alignment_api.v1alpha1 import TERMINAL_JOB_PHASES

from ..planning.actions import Plan

URGENT_INTERVAL_SECONDS: Final = 1.0


def status_wait(steps: Plan, since_written: float | None, interval: float) -> float:
    """How many seconds the new status of ``steps`` has to wait; 0 or less: it is to be written now.

    What the operator just did (begin an attempt, or stop one) and the end of a job are written at once. So is every
    other urgent change, but for one on the heels of another: Pods that start quickly change a job twice within a
    second. What is not written yet is planned again later, as after a crash. Mere numbers wait for the status
    interval.

    Args:
        steps: the plan.
        since_written: seconds since the job's status was last written; None for never.
        interval: the status interval, in seconds.
    """
    ended = steps.status is not None and steps.status.phase in TERMINAL_JOB_PHASES
    if since_written is None or steps.apply or steps.delete or ended:
        return 0.0
    if steps.urgent or steps.events:
        interval = min(interval, URGENT_INTERVAL_SECONDS)
    return interval - since_written
