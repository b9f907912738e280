"""What follows from a failed attempt: the next one after a pause, or the end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import RunStatus, StageStatus

from ..failures.actions import ACTION_OF_REASON, Action
from ..failures.failure import Failure
from ..status.runs import Run, failed, waiting, with_failure
from .context import Context
from .pipeline import Pipeline

_FIRST_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(seconds=300)


def after_failure(pipeline: Pipeline, run: Run, failure: Failure, context: Context) -> Pipeline:
    """``pipeline`` after the current attempt at ``run`` failed: the failure is recorded, and counted if it counts."""
    action = ACTION_OF_REASON[failure.reason]
    if context.spec.suspend and action is not Action.FAIL:
        # Suspension ends attempts, and the stored status may not know yet that it did: that is no failure.
        return pipeline.with_run(run)
    recorded = with_failure(run, failure, context.now)
    if action is Action.FAIL:
        return pipeline.with_run(failed(recorded, failure.reason, failure.message, context.now))
    used = pipeline.infrastructure_failures + (action is Action.RESTART_COUNTED)
    pipeline = replace(pipeline, infrastructure_failures=used)
    allowed = context.spec.run_policy.retries.infrastructure
    if used > allowed:
        text = (
            f"all {allowed} retries of runPolicy.retries.infrastructure are used up; attempt {run.attempt} ended with "
            f"{failure.reason}: {failure.message}"
        )
        return pipeline.with_run(failed(recorded, Reason.RETRIES_EXHAUSTED, text, context.now))
    text = f"attempt {run.attempt} ended with {failure.reason}: {failure.message}"
    restarts = pipeline.restarts + isinstance(run, StageStatus)
    return replace(pipeline, restarts=restarts).with_run(waiting(recorded, Reason.RESTARTING, text))


def restart_at(run: RunStatus) -> datetime | None:
    """When the next attempt may start; None when nothing holds it back.

    The first restart is immediate, the second waits 5 s, and each further one twice as long, up to 5 minutes. Free
    restarts wait as well, so that an eviction that repeats is no busy loop.
    """
    if not run.failures or run.failures[-1].attempt != run.attempt:
        return None
    if len(run.failures) == 1:
        return run.failures[-1].time
    doublings: int = len(run.failures) - 2
    return run.failures[-1].time + min(_FIRST_PAUSE * (1 << doublings), _LONGEST_PAUSE)
