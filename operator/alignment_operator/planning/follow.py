"""What became of the current attempt at each run, as the cluster shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from alignment_api.conditions import Reason
from alignment_api.contract import Summary
from alignment_api.v1alpha1 import RunStatus, StageStatus

from ..failures.attempt_failure import attempt_failure
from ..failures.failure import Failure
from ..status.runs import Run, is_live, is_terminal, queued, started, succeeded
from ..status.stages import (
    with_data,
    with_last_numbers,
    with_last_words,
    with_pods,
    with_progress,
    with_promoted,
    with_results,
)
from ..status.waiting import what_pods_wait_for
from .attempts import PREPARE, PROMOTION, Attempt
from .context import Context
from .pipeline import Pipeline
from .policies.placement import placement_ends_at, placement_failure
from .policies.queue import preempted_by_queue, waits_in_queue
from .policies.retries import after_failure
from .policies.stall import chore_gives_up_at, chore_stall_failure, evidence_of, gives_up_at, stall_failure

_NEW_JOB_PATIENCE: Final = timedelta(seconds=10)
"""How long a Job that was just created may be missing from what is seen before it counts as deleted."""


def follow_prepare(pipeline: Pipeline, context: Context) -> Pipeline:
    """``pipeline`` with what became of Prepare; its results are the stages' data reports."""

    def with_results_of(done: Pipeline, summary: Summary | None) -> Pipeline:
        return replace(done, stages=tuple(with_data(done.stages, summary)))

    return _follow_chore(pipeline, pipeline.prepare, PREPARE, context, with_results_of)


def follow_promotion(pipeline: Pipeline, context: Context) -> Pipeline:
    """``pipeline`` with what became of the promotion, if there is one."""
    if pipeline.promotion is None:
        return pipeline

    def with_results_of(done: Pipeline, summary: Summary | None) -> Pipeline:
        return replace(done, promotion=with_promoted(done.promotion, summary) if done.promotion is not None else None)

    return _follow_chore(pipeline, pipeline.promotion, PROMOTION, context, with_results_of)


def _follow_chore(
    pipeline: Pipeline,
    run: RunStatus,
    name: str,
    context: Context,
    with_results_of: Callable[[Pipeline, Summary | None], Pipeline],
) -> Pipeline:
    """``pipeline`` with what became of a run of one Pod without a GPU."""
    run = _adopted(run, name, context)
    attempt = context.attempts_of(name).get(run.attempt)
    if is_terminal(run):
        return pipeline
    if attempt.awaits_summary:
        return pipeline.with_run(run)
    if attempt.is_complete:
        return with_results_of(pipeline.with_run(succeeded(run, context.now)), attempt.summary())
    if not is_live(run):
        return pipeline.with_run(run)
    failure = (
        attempt_failure(attempt.job, attempt.pods, context.now)
        or _lost_job(run, attempt, context.now)
        or chore_stall_failure(context, name, attempt)
    )
    if failure is not None:
        return after_failure(pipeline, run, failure, context)
    return _with_pods(pipeline, run, attempt, context).waking(chore_gives_up_at(context, attempt))


def follow_stage(pipeline: Pipeline, stage: StageStatus, context: Context) -> Pipeline:
    """``pipeline`` with what became of one stage's gang."""
    stage = _adopted(stage, stage.name, context)
    attempt = context.attempts_of(stage.name).get(stage.attempt)
    if is_terminal(stage):
        return pipeline
    if attempt.awaits_summary:
        return pipeline.with_run(stage)
    lost = _lost_verdict(stage, attempt, context)
    if attempt.is_complete and lost is None:
        return pipeline.with_run(with_results(succeeded(stage, context.now), attempt.summary()))
    if not is_live(stage):
        # A gang that was told to stop writes a checkpoint, and ends after its attempt was given up.
        return pipeline.with_run(with_last_words(with_last_numbers(stage, attempt.summary()), attempt.pods))
    failure = (
        lost
        or preempted_by_queue(stage, attempt)  # first: what it does to the Pods looks like their being lost
        or attempt_failure(attempt.job, attempt.pods, context.now)
        or _lost_job(stage, attempt, context.now)
        or placement_failure(context, attempt)
        or stall_failure(context, stage, attempt)
    )
    seen = context.observed.progress.get((stage.name, stage.attempt))
    if failure is not None:
        if failure.exit_code is not None and failure.evidence is None:
            failure = replace(failure, evidence=evidence_of(context, stage.name, attempt.number))
        return after_failure(pipeline, with_last_numbers(stage, attempt.summary()), failure, context)
    queue_wait = waits_in_queue(stage, attempt, context)
    if queue_wait is not None:
        return pipeline.with_run(queued(stage, queue_wait.message)).waking(queue_wait.look_again)
    pipeline = _with_pods(pipeline, stage, attempt, context)
    if seen is not None:
        followed = next(run for run in pipeline.stages if run.name == stage.name)
        pipeline = pipeline.with_run(with_progress(followed, seen.progress))
    return pipeline.waking(gives_up_at(context, stage, attempt), placement_ends_at(context, attempt))


def _adopted(run: Run, name: str, context: Context) -> Run:
    """``run`` with an attempt that exists in the cluster and is not in the status: its write was lost."""
    newest = context.attempts_of(name).newest_number
    if newest <= run.attempt or is_terminal(run):
        return run
    attempt = context.attempts_of(name).get(newest)
    created = attempt.job["metadata"].get("creationTimestamp") if attempt.job is not None else None
    began = datetime.fromisoformat(created) if created else context.now
    return started(run, newest, began, in_queue=attempt.is_suspended)


def _lost_job(run: RunStatus, attempt: Attempt, now: datetime) -> Failure | None:
    """The failure of an attempt whose Job is gone though nobody here deleted it."""
    if attempt.job is not None and "deletionTimestamp" not in attempt.job["metadata"]:
        return None
    if attempt.job is None and now < _believed_missing_at(run, now):
        return None
    return Failure(Reason.POD_LOST, f"the Job of attempt {run.attempt} was deleted")


def _lost_verdict(stage: StageStatus, attempt: Attempt, context: Context) -> Failure | None:
    """The failure of a gang that ended well, but whose Pod was deleted before it was read what its gates came to.

    The next attempt finds all that was evaluated in the workspace, and says it again.
    """
    evaluate = context.spec.stage(stage.name).evaluate
    if evaluate is None or not evaluate.gates or not attempt.is_complete or attempt.summary() is not None:
        return None
    return Failure(Reason.POD_LOST, f"the verdict of attempt {attempt.number} was deleted with its Pod")


def _believed_missing_at(run: RunStatus, now: datetime) -> datetime:
    return run.attempt_start_time + _NEW_JOB_PATIENCE if run.attempt_start_time else now


def _with_pods(pipeline: Pipeline, run: RunStatus, attempt: Attempt, context: Context) -> Pipeline:
    wait = what_pods_wait_for(attempt.job, attempt.pods, context.now)
    if wait is not None and wait.reason is Reason.UNSCHEDULABLE and context.stored.avoided_nodes:
        avoided = ", ".join(context.stored.avoided_nodes)
        wait = replace(wait, message=f"{wait.message} (avoided by runPolicy.avoidNodeAfterFailures: {avoided})")
    pipeline = pipeline.with_run(with_pods(run, attempt.pods, attempt.size, wait))
    if attempt.job is None:
        pipeline = pipeline.waking(_believed_missing_at(run, context.now))
    # A Pod that is being deleted on a lost node sends no event when it stops being waited for.
    return pipeline.waking(wait.look_again if wait else None, attempt.presumed_over_at(context.now))
