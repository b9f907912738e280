"""Where the job's report is: written by Pods to a place that follows from the job's name alone."""

from __future__ import annotations

from dataclasses import replace

from alignment_api.contract import WORKSPACE_MOUNT, JobLayout, JobReference

from ..context import Context
from ..pipeline import Pipeline


def report_path(job: JobReference) -> str:
    """The job's report, relative to the workspace."""
    layout = JobLayout(WORKSPACE_MOUNT, job)
    return layout.relative(layout.report)


def with_report(pipeline: Pipeline, context: Context) -> Pipeline:
    """``pipeline`` with the report's path, once a Pod has said that it wrote one."""
    if pipeline.report is not None or not _is_written(context):
        return pipeline
    return replace(pipeline, report=report_path(context.job))


def _is_written(context: Context) -> bool:
    if any(said.progress.report is not None for said in context.observed.progress.values()):
        return True
    summaries = (attempt.summary() for attempts in context.attempts.values() for attempt in attempts.all)
    return any(summary is not None and summary.report is not None for summary in summaries)
