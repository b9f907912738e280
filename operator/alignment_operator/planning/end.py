"""The end of a job: when all stages succeeded, one run failed, or time is up."""

from __future__ import annotations

from datetime import datetime

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import JobPhase, RunStatus, StagePhase

from ..failures.pod_failure import pod_failure
from ..status.headline import Headline
from ..status.runs import failed, is_live, is_terminal, skipped
from .attempts import PREPARE
from .context import Context
from .pipeline import Pipeline
from .policies.deadline import job_deadline


def end_if_due(pipeline: Pipeline, context: Context, start: datetime) -> tuple[Pipeline, Headline | None]:
    """``pipeline`` with everything stopped, and the job's last headline; no headline while the job goes on.

    Args:
        start: when the job began.
    """
    if all(stage.phase is StagePhase.SUCCEEDED for stage in pipeline.stages):
        return pipeline, Headline(JobPhase.SUCCEEDED, Reason.SUCCEEDED, "all stages succeeded")
    for name, run in pipeline.runs():
        if run.phase is StagePhase.FAILED:
            what = "Prepare" if name == PREPARE else f"stage {name}"
            headline = Headline(JobPhase.FAILED, Reason(run.reason or Reason.FAILED), f"{what}: {run.message or ''}")
            pipeline = _blamed(pipeline, context) if name == PREPARE else pipeline
            return _stopped(pipeline, context, f"not run to its end, because {what} failed"), headline
    deadline = job_deadline(context, start)
    if deadline is not None and context.now >= deadline:
        seconds = context.spec.run_policy.active_deadline_seconds
        text = f"the job was not done {seconds} s after its start (runPolicy.activeDeadlineSeconds)"
        return _out_of_time(pipeline, context, text), Headline(JobPhase.FAILED, Reason.DEADLINE_EXCEEDED, text)
    return pipeline.waking(deadline), None


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
