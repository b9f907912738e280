"""The end of a job: when all that was to run succeeded, one run failed, or time is up."""

from __future__ import annotations

from datetime import datetime

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import JobPhase, RunStatus, StagePhase

from ..failures.pod_failure import pod_failure
from ..status.gates import verdict
from ..status.headline import Headline
from ..status.runs import failed, is_live, is_terminal, skipped
from .attempts import PREPARE, described
from .context import Context
from .pipeline import Pipeline
from .policies.deadline import job_deadline


def end_if_due(pipeline: Pipeline, context: Context, start: datetime) -> tuple[Pipeline, Headline | None]:
    """``pipeline`` with everything stopped, and the job's last headline; no headline while the job goes on.

    Args:
        start: when the job began.
    """
    pipeline = _skip_promotion_if_gates_fail(pipeline, context)
    if pipeline.are_stages_done and (text := _success(pipeline)) is not None:
        return pipeline, Headline(JobPhase.SUCCEEDED, Reason.SUCCEEDED, text)
    for name, run in pipeline.runs():
        if run.phase is StagePhase.FAILED:
            what = described(name)
            headline = Headline(JobPhase.FAILED, Reason(run.reason or Reason.FAILED), f"{what}: {run.message or ''}")
            pipeline = _blamed(pipeline, context) if name == PREPARE else pipeline
            return _stopped(pipeline, context, f"not run to its end, because {what} failed"), headline
    deadline = job_deadline(context, start)
    if deadline is not None and context.now >= deadline:
        seconds = context.spec.run_policy.active_deadline_seconds
        text = f"the job was not done {seconds} s after its start (runPolicy.activeDeadlineSeconds)"
        return _out_of_time(pipeline, context, text), Headline(JobPhase.FAILED, Reason.DEADLINE_EXCEEDED, text)
    return pipeline.waking(deadline), None


def _skip_promotion_if_gates_fail(pipeline: Pipeline, context: Context) -> Pipeline:
    """A promotion that has begun goes on: its gates held, and what was reported does not change any more."""
    promotion = pipeline.promotion
    if promotion is None or is_terminal(promotion) or promotion.attempt > 0 or not pipeline.are_stages_done:
        return pipeline
    judged = verdict(context.spec, pipeline.stages)
    if judged is not None and judged.passed:
        return pipeline
    return pipeline.with_run(skipped(promotion, "nothing is promoted: not all gates hold", context.now))


def _success(pipeline: Pipeline) -> str | None:
    """How a job whose stages succeeded ended well; None while its promotion goes on, or when that failed."""
    if pipeline.promotion is None:
        return "all stages succeeded"
    if pipeline.promotion.phase is StagePhase.SUCCEEDED:
        return "all stages succeeded, and the model is promoted"
    if pipeline.promotion.phase is StagePhase.SKIPPED:
        return "all stages succeeded; nothing is promoted, as not all gates hold"
    return None


def _blamed(pipeline: Pipeline, context: Context) -> Pipeline:
    """The stages in which Prepare found problems have failed by them."""
    pods = context.attempts_of(PREPARE).get(pipeline.prepare.attempt).pods
    problems = [problem for pod in pods if (failure := pod_failure(pod)) for problem in failure.problems]
    reason = Reason(pipeline.prepare.reason or Reason.FAILED)
    for index, stage in enumerate(pipeline.stages):
        own = [str(problem) for problem in problems if problem.field.startswith(f"spec.stages[{index}]")]
        if own:
            pipeline = pipeline.with_run(failed(stage, reason, "\n".join(own), context.now))
    return pipeline


def _stopped(pipeline: Pipeline, context: Context, message: str) -> Pipeline:
    def stop(_: str, run: RunStatus) -> RunStatus:
        return run if is_terminal(run) else skipped(run, message, context.now)

    return pipeline.each_run(stop)


def _out_of_time(pipeline: Pipeline, context: Context, message: str) -> Pipeline:
    def stop(_: str, run: RunStatus) -> RunStatus:
        return failed(run, Reason.DEADLINE_EXCEEDED, message, context.now) if is_live(run) else run

    return _stopped(pipeline.each_run(stop), context, message)
