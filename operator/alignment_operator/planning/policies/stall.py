"""When a running gang is given up for not getting on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from alignment_api.conditions import Reason
from alignment_api.contract import WORKSPACE_MOUNT, JobLayout, Progress, TrainerPhase
from alignment_api.v1alpha1 import StageStatus
from alignment_api.v1alpha1.run_policy import RunPolicy

from ...failures.failure import Failure
from ..attempts import Attempt, described
from ..context import Context


class Patience(NamedTuple):
    """How long silence is borne, and the field that says so."""

    seconds: int
    field: str


def patience_with(policy: RunPolicy, progress: Progress | None, first_step: int) -> Patience:
    """How long a gang may be silent in the phase that it last reported.

    Args:
        progress: what it last reported; None before the first report.
        first_step: the step that the attempt began from.
    """
    deadlines = policy.progress_deadlines
    phase = progress.phase if progress is not None else TrainerPhase.LOADING
    if phase is TrainerPhase.LOADING:
        name, seconds = "loadingSeconds", deadlines.loading_seconds
    elif phase in (TrainerPhase.CHECKPOINTING, TrainerPhase.EXPORTING, TrainerPhase.FINISHED):
        name, seconds = "savingSeconds", deadlines.saving_seconds
    elif phase is TrainerPhase.EVALUATING:
        name, seconds = "evaluatingSeconds", deadlines.evaluating_seconds
    elif progress is not None and progress.step <= first_step:
        name, seconds = "firstStepSeconds", deadlines.first_step_seconds
    else:
        name, seconds = "stepSeconds", deadlines.step_seconds
    if seconds is not None:
        return Patience(seconds, f"runPolicy.progressDeadlines.{name}")
    return Patience(policy.progress_deadline_seconds, "runPolicy.progressDeadlineSeconds")


def gives_up_at(context: Context, stage: StageStatus, attempt: Attempt) -> datetime | None:
    """When the gang's silence will have lasted too long; None while it is not running.

    Silence begins with the last change of phase or step that this operator saw; before any, when the last container
    was started or the operator began asking, whichever was later. Waiting for nodes is no silence.
    """
    seconds = timedelta(seconds=_patience(context, stage, attempt).seconds)
    seen = context.observed.progress.get((stage.name, attempt.number))
    if seen is not None:
        return seen.changed_at + seconds
    started = _last_start(attempt)
    if started is None or context.observed.asking_since is None:
        return None
    return max(started, context.observed.asking_since) + seconds


def chore_gives_up_at(context: Context, attempt: Attempt) -> datetime | None:
    """When Prepare or the promotion will have run too long; None for never, or while it does not run."""
    seconds = context.spec.run_policy.progress_deadlines.preparing_seconds
    started = _last_start(attempt)
    return None if seconds is None or started is None else started + timedelta(seconds=seconds)


def chore_stall_failure(context: Context, name: str, attempt: Attempt) -> Failure | None:
    """The failure of a Prepare or promotion that was given up."""
    deadline = chore_gives_up_at(context, attempt)
    if deadline is None or context.now < deadline:
        return None
    seconds = context.spec.run_policy.progress_deadlines.preparing_seconds
    what = described(name)
    text = f"{what} was not done after {seconds} s (runPolicy.progressDeadlines.preparingSeconds): see its Pod's log"
    return Failure(Reason.NO_PROGRESS, text)


def stall_failure(context: Context, stage: StageStatus, attempt: Attempt) -> Failure | None:
    """The failure of a gang that was given up; None for one that gets on."""
    deadline = gives_up_at(context, stage, attempt)
    if deadline is None or context.now < deadline:
        return None
    seconds, field = _patience(context, stage, attempt)
    evidence = evidence_of(context, stage.name, attempt.number)
    seen = context.observed.progress.get((stage.name, attempt.number))
    last = f"the last was step {seen.progress.step}, {seen.progress.phase}" if seen else "it never reported any"
    return Failure(
        Reason.NO_PROGRESS,
        f"no progress for {seconds} s ({field}); {last}. Stacks of every process and the end of the output are in the "
        f"workspace, in {evidence}",
        pod=attempt.pods[0]["metadata"]["name"] if attempt.pods else None,
        node=attempt.pods[0].get("spec", {}).get("nodeName") if attempt.pods else None,
        evidence=evidence,
    )


def evidence_of(context: Context, stage: str, attempt: int) -> str:
    """Where a gang's Pods leave their last words, relative to the workspace."""
    layout = JobLayout(WORKSPACE_MOUNT, context.job)
    return layout.relative(layout.stage(stage).attempt(attempt).evidence)


def _patience(context: Context, stage: StageStatus, attempt: Attempt) -> Patience:
    seen = context.observed.progress.get((stage.name, attempt.number))
    return patience_with(context.spec.run_policy, seen.progress if seen else None, _first_step(stage, attempt))


def _first_step(stage: StageStatus, attempt: Attempt) -> int:
    """The step that the attempt began from: that of the newest checkpoint, if an earlier attempt wrote it."""
    if stage.checkpoint is None or f"/attempts/{attempt.number}/" in stage.checkpoint.path:
        return 0
    return stage.checkpoint.step


def _last_start(attempt: Attempt) -> datetime | None:
    """When the last container of the gang was started; None while not all run."""
    starts = [
        container["state"]["running"]["startedAt"]
        for pod in attempt.pods
        for container in pod.get("status", {}).get("containerStatuses") or []
        if container.get("state", {}).get("running", {}).get("startedAt")
    ]
    return max(map(datetime.fromisoformat, starts)) if starts and len(starts) >= attempt.size else None
