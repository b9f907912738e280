"""What follows from a failed attempt: the next one after a pause, or the end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from pydantic.alias_generators import to_snake

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import AttemptFailure, RunStatus, StageStatus
from alignment_api.v1alpha1.run_policy import Retries

from ...failures.classes import CLASS_OF_REASON, Action, Budget
from ...failures.failure import Failure
from ...status.runs import Run, failed, waiting, with_failure
from ..context import Context
from ..pipeline import Pipeline
from .avoided_nodes import with_failure_of_node
from .shape import fewer_nodes, smaller_micro_batch

_MOST_DOUBLINGS: Final = 32
_FAR_APART: Final = 6
"""Longest pauses between two failures after which the second has nothing to do with the first."""


def after_failure(pipeline: Pipeline, run: Run, failure: Failure, context: Context) -> Pipeline:
    """``pipeline`` after the current attempt at ``run`` failed: the failure is recorded, and counted if it counts."""
    what = CLASS_OF_REASON[failure.reason]
    if context.spec.suspend and what.action is not Action.FAIL:
        # Suspension ends attempts, and the stored status may not know yet that it did: that is no failure.
        return pipeline.with_run(run)
    recorded = with_failure(run, failure, context.now)
    if what.action is Action.FAIL:
        return pipeline.with_run(failed(recorded, failure.reason, failure.message, context.now))
    pipeline = replace(pipeline, node_failures=with_failure_of_node(pipeline.node_failures, failure))
    ended = f"attempt {run.attempt} ended with {failure.reason}: {failure.message}"
    if what.budget is not None:
        used = pipeline.failures.get(what.budget, 0) + 1
        pipeline = replace(pipeline, failures={**pipeline.failures, what.budget.value: used})
        allowed = budget_of(context.spec.run_policy.retries, what.budget)
        if used > allowed > 0:
            text = f"all {allowed} retries of runPolicy.retries.{what.budget} are used up; {ended}"
            return pipeline.with_run(failed(recorded, Reason.RETRIES_EXHAUSTED, text, context.now))
        if not allowed:
            return pipeline.with_run(failed(recorded, failure.reason, failure.message, context.now))
    reshaped = _reshaped(recorded, failure, context)
    if reshaped is None:  # as large as it was, it would run out of memory again
        return pipeline.with_run(failed(recorded, failure.reason, failure.message, context.now))
    restarts = pipeline.restarts + isinstance(run, StageStatus)
    return replace(pipeline, restarts=restarts).with_run(waiting(reshaped, Reason.RESTARTING, ended))


def budget_of(retries: Retries, budget: Budget) -> int:
    """How many restarts the user allows for a class of failures."""
    allowed: int = getattr(retries, to_snake(budget.value))
    return allowed


def restart_at(run: RunStatus, context: Context) -> datetime | None:
    """When the next attempt may start; None when nothing holds it back.

    The first restart is immediate, the second waits ``backoff.initialSeconds``, and each further one twice as long, up
    to ``backoff.maxSeconds``; failures that are far apart do not add up. Free restarts wait as well, so that an
    eviction that repeats is no busy loop. A gang that was not placed whole always waits, and no two of them equally
    long: else two that hold half of the nodes each would let go and reach for them at the same instants for ever.
    """
    if not run.failures or run.failures[-1].attempt != run.attempt:
        return None
    last, backoff = run.failures[-1], context.spec.run_policy.retries.backoff
    count = _in_a_row(run.failures, timedelta(seconds=_FAR_APART * backoff.max_seconds))
    if last.reason == Reason.NOT_PLACED:
        doublings, factor = count - 1, 0.5 + _share(context.job.uid, str(run.attempt))
    elif count == 1:
        return last.time
    else:
        doublings, factor = count - 2, 1.0
    seconds = min(backoff.initial_seconds * (1 << min(doublings, _MOST_DOUBLINGS)), backoff.max_seconds)
    return last.time + timedelta(seconds=seconds * factor)


def _in_a_row(failures: Sequence[AttemptFailure], far_apart: timedelta) -> int:
    """How many of the last failures followed each other closely."""
    count = 1
    for earlier, later in zip(failures[-2::-1], failures[:0:-1], strict=True):
        if later.time - earlier.time > far_apart:
            break
        count += 1
    return count


def _reshaped(run: Run, failure: Failure, context: Context) -> Run | None:
    """``run`` with the shape of its next attempt; None when memory ran out and the micro batch cannot shrink."""
    if not isinstance(run, StageStatus):
        return None if failure.reason is Reason.OUT_OF_MEMORY else run
    nodes = None  # it grows back
    micro_batch_size = run.micro_batch_size
    if failure.reason is Reason.NOT_PLACED and failure.placed is not None:
        nodes = fewer_nodes(context.spec, run, failure.placed)
    if failure.reason is Reason.OUT_OF_MEMORY:
        nodes = run.nodes  # fewer rows on as many nodes; one change at a time
        micro_batch_size = smaller_micro_batch(context.spec, run)
        if micro_batch_size is None:
            return None
    return run.model_copy(update={"nodes": nodes, "micro_batch_size": micro_batch_size})


def grown_back(run: Run) -> Run:
    """``run`` with the whole gang in its next attempt."""
    return run.model_copy(update={"nodes": None}) if isinstance(run, StageStatus) else run


def _share(*parts: str) -> float:
    """A number from 0 to 1 that is always the same for the same parts."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32
