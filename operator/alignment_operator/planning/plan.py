"""The decision: from what is known about one AlignmentJob to what is to be done. Pure; everything else carries out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from alignment_api.conditions import ConditionType, Reason
from alignment_api.contract import JobReference, Problem
from alignment_api.v1alpha1 import TERMINAL_JOB_PHASES, AlignmentJobStatus, JobPhase, uses

from ..status.conditions import holds
from ..status.gates import verdict
from ..status.headline import Headline, headline_of
from ..status.promoted import Told, promoted
from .acceptance import read_spec
from .actions import ObjectKey, Plan
from .attempts import attempts_by_stage
from .context import Context
from .end import end_if_due
from .events import events_between
from .follow import follow_prepare, follow_promotion, follow_stage
from .new_status import compose_status, is_urgent, with_generation
from .observed import Manifest, Observed, Settings
from .pipeline import Pipeline, pipeline_of
from .policies.avoided_nodes import avoided_nodes
from .policies.cleanup import surplus
from .policies.report import with_report
from .policies.suspend import suspend
from .policies.time_to_live import expires_at, goes_itself, remains, unwatched
from .start import start_what_can


def plan(job: Manifest, observed: Observed, settings: Settings, now: datetime) -> Plan:
    """Decide what is to be done for ``job``.

    The controller carries the plan out in the order apply, clear, status, events, delete, and stops at the first step
    that fails; planning again from whatever that leaves comes to the same end. It must not plan from an AlignmentJob
    older than the status it wrote last.

    Args:
        job: the AlignmentJob, with the status last written.
        observed: the rest of the cluster, as far as it concerns the job.
        settings: the administrator's.
        now: the present time, with a time zone.

    Returns:
        What to apply and delete, the new status, and when to plan again. Nothing for a job that is being deleted:
        all its objects are owned by it and go with it.

    Raises:
        pydantic.ValidationError: the stored status is not one that this version of the API can read.
    """
    if "deletionTimestamp" in job["metadata"]:
        return Plan()
    stored = AlignmentJobStatus.model_validate(job.get("status") or {})
    spec, problems = read_spec(job, settings.allowances)
    generation = int(job["metadata"].get("generation", 0))
    if problems and not holds(stored.conditions, ConditionType.ACCEPTED):
        return _refused(stored, problems, generation, now)
    if spec is None:
        return _unreadable(stored, problems, generation, now)
    context = Context(
        job=JobReference(
            namespace=job["metadata"]["namespace"], name=job["metadata"]["name"], uid=job["metadata"]["uid"]
        ),
        generation=generation,
        spec=uses.with_job_models(spec, stored.models or ()),
        stored=stored,
        attempts=attempts_by_stage(observed),
        observed=observed,
        settings=settings,
        now=now,
    )
    if stored.phase in TERMINAL_JOB_PHASES:
        return _ended(context, job)
    return _advanced(context)


def _refused(stored: AlignmentJobStatus, problems: list[Problem], generation: int, now: datetime) -> Plan:
    """A specification that cannot be run; since it is immutable, this is the job's end."""
    text = _lines(problems)
    headline = Headline(JobPhase.FAILED, Reason.INVALID_SPEC, text)
    status = compose_status(stored, headline, None, rejection=text, generation=generation, now=now)
    return _plan_of(stored, status)


def _unreadable(stored: AlignmentJobStatus, problems: list[Problem], generation: int, now: datetime) -> Plan:
    """A job that another version of the operator accepted: left as it runs until somebody decides."""
    text = f"this version of the operator cannot read the specification: {_lines(problems)}"
    headline = Headline(stored.phase or JobPhase.PENDING, Reason.RECONCILE_ERROR, text, needs_a_person=True)
    return _plan_of(stored, compose_status(stored, headline, None, rejection=None, generation=generation, now=now))


def _lines(problems: list[Problem]) -> str:
    return "\n".join(str(problem) for problem in problems)


def _ended(context: Context, job: Manifest) -> Plan:
    """Nothing of an ended job changes any more, but what it leaves behind goes: some at once, the rest in time."""
    status = with_generation(context.stored, context.generation)
    ends_at = expires_at(context)
    if ends_at is not None and context.now >= ends_at:
        return _expired(context, job, status)
    delete, _ = surplus(pipeline_of(context.spec, context.stored), context, ended=True)
    if context.spec.run_policy.clean_pod_policy == "All":
        delete = remains(context)
    return Plan(delete=delete, status=status, urgent=status != context.stored, wake_at=ends_at)


def _expired(context: Context, job: Manifest, status: AlignmentJobStatus) -> Plan:
    """Pods and Jobs go first; the AlignmentJob, or the record that nothing is left, comes when they are gone."""
    if context.observed.jobs or context.observed.pods:
        return Plan(delete=remains(context), status=status)
    if goes_itself(context, job):
        return Plan(delete=(ObjectKey("AlignmentJob", context.job.namespace, context.job.name),), status=status)
    if status.expiration_time is not None:
        return Plan(status=status, urgent=status != context.stored)
    record = status.model_copy(update={"expiration_time": context.now})
    return Plan(clear=unwatched(context), status=record, urgent=True)


def _advanced(context: Context) -> Plan:
    start = context.stored.start_time or context.now
    pipeline = _followed(pipeline_of(context.spec, context.stored), context)
    pipeline, headline = end_if_due(pipeline, context, start)
    if headline is None:
        suspended = context.spec.suspend
        pipeline = suspend(pipeline) if suspended else start_what_can(pipeline, context)
        headline = headline_of(
            suspended, pipeline.prepare, pipeline.stages, pipeline.promotion, is_stuck=pipeline.is_stuck
        )
    delete, more_later = surplus(pipeline, context)
    status = compose_status(
        context.stored,
        headline,
        pipeline,
        promoted=_promoted(pipeline, context, headline),
        avoided=avoided_nodes(pipeline.node_failures, context.spec.run_policy),
        rejection=None,
        generation=context.generation,
        now=context.now,
    )
    wakes = (*pipeline.wakes, *((context.now,) if more_later else ()))
    return _plan_of(
        context.stored,
        status,
        apply=pipeline.apply,
        delete=delete,
        wake_at=None if headline.is_final and not more_later else min(wakes, default=None),
    )


def _followed(pipeline: Pipeline, context: Context) -> Pipeline:
    pipeline = follow_prepare(pipeline, context)
    for stage in pipeline.stages:
        pipeline = follow_stage(pipeline, stage, context)
    return with_report(follow_promotion(pipeline, context), context)


def _promoted(pipeline: Pipeline, context: Context, headline: Headline) -> Told | None:
    if not pipeline.are_stages_done:
        return None
    is_complete = headline.phase is JobPhase.SUCCEEDED
    return promoted(verdict(context.spec, pipeline.stages), pipeline.promotion, job_is_complete=is_complete)


def _plan_of(stored: AlignmentJobStatus, status: AlignmentJobStatus, **parts: Any) -> Plan:
    return Plan(status=status, urgent=is_urgent(stored, status), events=events_between(stored, status), **parts)
