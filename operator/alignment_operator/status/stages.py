"""What a running or finished attempt adds to the status of its run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alignment_api.conditions import Reason
from alignment_api.contract import CheckpointMark, Progress, Summary, TrainerPhase
from alignment_api.v1alpha1 import CheckpointStatus, PromotionStatus, StagePhase, StageProgress, StageStatus

from ..failures.termination import summary_of
from ..planning.observed import Manifest
from .runs import Run, changed
from .text import bounded
from .waiting import Wait

_DOING: Final = {
    TrainerPhase.LOADING: "loading the model and the data",
    TrainerPhase.TRAINING: "training",
    TrainerPhase.CHECKPOINTING: "writing a checkpoint",
    TrainerPhase.EVALUATING: "evaluating",
    TrainerPhase.EXPORTING: "exporting the model",
    TrainerPhase.FINISHED: "finishing",
}


def with_pods(run: Run, pods: Sequence[Manifest], size: int, wait: Wait | None) -> Run:
    """``run`` with what its Pods do: waiting for something, starting, or running.

    Args:
        run: its attempt is live.
        pods: Pods of the attempt.
        size: how many Pods there shall be.
        wait: what keeps Pods from running.
    """
    if run.phase not in (StagePhase.QUEUED, StagePhase.STARTING):
        return run
    running = sum(pod.get("status", {}).get("phase") in ("Running", "Succeeded") for pod in pods)
    if running == size and wait is None:
        return changed(run, StagePhase.RUNNING, Reason.RUNNING, "the Pods run; nothing was reported yet")
    if wait is not None:
        return changed(run, StagePhase.STARTING, wait.reason, wait.message)
    return changed(run, StagePhase.STARTING, Reason.STARTING, f"{running} of {size} Pods run")


def with_progress(stage: StageStatus, progress: Progress) -> StageStatus:
    """``stage`` with what its rank 0 reports; numbers never go back within an attempt."""
    if progress.attempt != stage.attempt or _is_older(progress, stage):
        return stage
    checkpointing = progress.phase is TrainerPhase.CHECKPOINTING
    reported = changed(
        stage,
        StagePhase.CHECKPOINTING if checkpointing else StagePhase.RUNNING,
        Reason.CHECKPOINTING if checkpointing else Reason.RUNNING,
        _DOING[progress.phase],
    )
    return with_numbers(reported, progress)


def with_numbers(stage: StageStatus, progress: Progress) -> StageStatus:
    """``stage`` with the numbers of ``progress``; a phase that reports no metrics leaves the last ones.

    A gang that is still loading knows no steps: those of the attempt before stay until it has resumed from them.
    """
    if progress.total_steps == 0:
        return stage
    total = max(progress.total_steps, progress.step)
    numbers = StageProgress(
        attempt=progress.attempt,
        step=progress.step,
        total_steps=total,
        epoch=progress.epoch,
        percent=100 * progress.step // total,
        tokens_per_second=progress.tokens_per_second,
        eta_seconds=progress.eta_seconds,
        updated_at=progress.updated_at,
    )
    update: dict[str, object] = {"progress": numbers}
    if progress.metrics:
        update["metrics"] = dict(progress.metrics)
    return _with_checkpoint(stage.model_copy(update=update), progress.checkpoint)


def with_results(stage: StageStatus, summary: Summary | None) -> StageStatus:
    """The succeeded ``stage`` with the results that rank 0 left behind.

    Without a summary (the Pod was deleted first) the last known numbers stay, and the message says so.
    """
    if summary is None:
        text = f"{stage.message}; its results could not be read, since the Pod of rank 0 is gone: see the workspace"
        return stage.model_copy(update={"message": text})
    return with_last_numbers(stage, summary).model_copy(
        update={
            "model": summary.model or stage.model,
            "gates": summary.gates or stage.gates,
            "candidates": summary.candidates or stage.candidates,
        }
    )


def with_promoted(promotion: PromotionStatus, summary: Summary | None) -> PromotionStatus:
    """The succeeded ``promotion`` with what its Pod said."""
    if summary is None or summary.promotion is None:
        text = (
            f"{promotion.message}; what was promoted could not be read from its Pod: see the workspace's lineage.json"
        )
        return promotion.model_copy(update={"message": text})
    return promotion.model_copy(update={"result": summary.promotion})


def with_last_numbers(stage: StageStatus, summary: Summary | None) -> StageStatus:
    """``stage`` with the numbers and the checkpoint that rank 0 ended with: newer than what was last asked for."""
    if summary is None:
        return stage
    progress = summary.progress
    if progress is not None and progress.attempt == stage.attempt and not _is_older(progress, stage):
        stage = with_numbers(stage, progress)
    return _with_checkpoint(stage, summary.checkpoint)


def with_last_words(stage: StageStatus, pods: Sequence[Manifest]) -> StageStatus:
    """``stage`` whose last failure also has what the Pods of a stalled gang said when they were stopped.

    Only they know where each process hung, and they say so after the attempt was given up.
    """
    last = stage.failures[-1] if stage.failures else None
    if last is None or last.attempt != stage.attempt or last.reason != Reason.NO_PROGRESS:
        return stage
    summaries = [summary for pod in pods if (summary := summary_of(pod)) is not None]
    new = [summary.message for summary in summaries if summary.message and summary.message not in last.message]
    if not new:
        return stage
    told = last.model_copy(update={"message": bounded("\n".join([last.message, *dict.fromkeys(new)]))})
    return stage.model_copy(update={"failures": [*(stage.failures or [])[:-1], told]})


def with_data(stages: Sequence[StageStatus], summary: Summary | None) -> list[StageStatus]:
    """``stages`` with the numbers of Prepare's data reports."""
    data = {entry.stage: entry.data for entry in (summary.data if summary else None) or []}
    return [stage.model_copy(update={"data": data.get(stage.name, stage.data)}) for stage in stages]


def _is_older(progress: Progress, stage: StageStatus) -> bool:
    shown = stage.progress
    return shown is not None and shown.attempt == progress.attempt and progress.step < shown.step


def _with_checkpoint(stage: StageStatus, mark: CheckpointMark | None) -> StageStatus:
    if mark is None:
        return stage
    return stage.model_copy(update={"checkpoint": CheckpointStatus(step=mark.step, path=mark.path, time=mark.time)})
