"""When a running gang is given up for not getting on."""

from __future__ import annotations

from datetime import datetime, timedelta

from alignment_api.conditions import Reason
from alignment_api.contract import WORKSPACE_MOUNT, JobLayout

from ..failures.failure import Failure
from .attempts import Attempt
from .context import Context


def gives_up_at(context: Context, stage: str, attempt: Attempt) -> datetime | None:
    """When the gang's silence will have lasted ``progressDeadlineSeconds``; None while it is not running.

    Silence begins with the last change of phase or step that this operator saw; before any, when the last container
    was started or the operator began asking, whichever was later. Waiting for nodes is no silence.
    """
    patience = timedelta(seconds=context.spec.run_policy.progress_deadline_seconds)
    seen = context.observed.progress.get((stage, attempt.number))
    if seen is not None:
        return seen.changed_at + patience
    started = _last_start(attempt, context.spec.runtime_of(context.spec.stage(stage)).nodes)
    if started is None or context.observed.asking_since is None:
        return None
    return max(started, context.observed.asking_since) + patience


def stall_failure(context: Context, stage: str, attempt: Attempt) -> Failure | None:
    """The failure of a gang that was given up; None for one that gets on."""
    deadline = gives_up_at(context, stage, attempt)
    if deadline is None or context.now < deadline:
        return None
    seconds = context.spec.run_policy.progress_deadline_seconds
    layout = JobLayout(WORKSPACE_MOUNT, context.job)
    seen = context.observed.progress.get((stage, attempt.number))
    last = f"the last was step {seen.progress.step}, {seen.progress.phase}" if seen else "it never reported any"
    return Failure(
        Reason.NO_PROGRESS,
        f"no progress for {seconds} s (runPolicy.progressDeadlineSeconds); {last}. Stacks and the end of the output "
        f"are in the workspace, in {layout.relative(layout.stage(stage).attempt(attempt.number).evidence)}",
        pod=attempt.pods[0]["metadata"]["name"] if attempt.pods else None,
        node=attempt.pods[0].get("spec", {}).get("nodeName") if attempt.pods else None,
    )


def _last_start(attempt: Attempt, size: int) -> datetime | None:
    """When the last container of the gang was started; None while not all run."""
    starts = [
        container["state"]["running"]["startedAt"]
        for pod in attempt.pods
        for container in pod.get("status", {}).get("containerStatuses") or []
        if container.get("state", {}).get("running", {}).get("startedAt")
    ]
    return max(map(datetime.fromisoformat, starts)) if len(starts) >= size else None
