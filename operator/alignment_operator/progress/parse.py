"""Reads what rank 0 answered. Anything may come from a Pod: user code runs in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Final

from pydantic import ValidationError

from alignment_api.contract import CheckpointMark, Progress

from ..exceptions import ProgressError
from .table import GangKey

MAX_BYTES: Final = 64 * 1024
_LARGEST_COUNT: Final = 2**53
"""Larger integers are not exact in every JSON reader, and no training has as many steps or tokens."""

_OLDEST: Final = timedelta(days=365)


def parse_progress(body: bytes, gang: GangKey, before: Progress | None) -> Progress:
    """The progress in an answer.

    Args:
        body: the answer's body.
        gang: who was asked.
        before: the gang's previous progress.

    Raises:
        ProgressError: it is not JSON of the right form, too large, about another gang, or goes back in steps.
    """
    if len(body) > MAX_BYTES:
        raise ProgressError(f"the answer is longer than {MAX_BYTES} bytes")
    try:
        progress = Progress.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ProgressError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".lstrip(": ")) from None
    if (progress.stage, progress.attempt) != (gang.stage, gang.attempt):
        raise ProgressError(
            f"it is about stage {progress.stage!r} attempt {progress.attempt}, "
            f"not stage {gang.stage!r} attempt {gang.attempt}"
        )
    for name in ("epoch", "tokens_per_second"):
        value = getattr(progress, name)
        if value is not None and not isfinite(value):
            raise ProgressError(f"{name} is not a finite number")
    for name in ("step", "total_steps", "tokens", "eta_seconds"):
        if (getattr(progress, name) or 0) > _LARGEST_COUNT:
            raise ProgressError(f"{name} is larger than {_LARGEST_COUNT}")
    loading = progress.total_steps == 0  # a gang that resumes knows its checkpoint before its steps
    if progress.checkpoint is not None and progress.checkpoint.step > progress.step and not loading:
        raise ProgressError(f"its checkpoint is of step {progress.checkpoint.step}, after its step {progress.step}")
    if before is not None and progress.step < before.step:
        raise ProgressError(f"step went back from {before.step} to {progress.step} within an attempt")
    return _with_time_zones(progress)


def by_our_clock(progress: Progress, sent: datetime | None, now: datetime) -> Progress:
    """``progress`` with its times by the operator's clock; a Pod's may be wrong by any amount.

    The numbers are as old as the Pod's own clock says that they were when it answered.

    Args:
        progress: as parsed.
        sent: when it was sent, by the Pod's clock; None if that is not known: then its clock is taken for ours.
        now: by the operator's.
    """

    def ours(time: datetime) -> datetime:
        return now - min(max((sent or now) - time, timedelta(0)), _OLDEST)

    checkpoint = progress.checkpoint
    if checkpoint is not None:
        checkpoint = checkpoint.model_copy(update={"time": ours(checkpoint.time)})
    return progress.model_copy(update={"updated_at": ours(progress.updated_at), "checkpoint": checkpoint})


def _with_time_zones(progress: Progress) -> Progress:
    """Times without a zone are UTC: the API server refuses a status that holds one."""
    checkpoint = progress.checkpoint
    if checkpoint is not None:
        checkpoint = CheckpointMark(step=checkpoint.step, path=checkpoint.path, time=_utc(checkpoint.time))
    return progress.model_copy(update={"updated_at": _utc(progress.updated_at), "checkpoint": checkpoint})


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
