"""The limit on a whole job's time."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..context import Context


def job_deadline(context: Context, start: datetime) -> datetime | None:
    """When a job begun at ``start`` has to have ended; None when it may take any time."""
    seconds = context.spec.run_policy.active_deadline_seconds
    return None if seconds is None else start + timedelta(seconds=seconds)
