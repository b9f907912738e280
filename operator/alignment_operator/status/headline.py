"""What is going on with the job as a whole, in one line; phase and conditions are made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import (
    TERMINAL_JOB_PHASES,
    JobPhase,
    PrepareStatus,
    PromotionStatus,
    StagePhase,
    StageStatus,
)

from .runs import is_live, is_terminal
from .waiting import NEEDS_A_PERSON


@dataclass(frozen=True)
class Headline:
    """Phase of the job and why.

    Attributes:
        needs_a_person: whether nothing will happen until somebody changes something.
    """

    phase: JobPhase
    reason: Reason
    message: str
    needs_a_person: bool = False

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.phase in TERMINAL_JOB_PHASES


def headline_of(
    suspended: bool,
    prepare: PrepareStatus,
    stages: Sequence[StageStatus],
    promotion: PromotionStatus | None = None,
    *,
    is_stuck: bool = False,
) -> Headline:
    """The headline of a job that has not ended.

    Args:
        is_stuck: whether what Prepare waits for will not come by itself, though its reason alone does not say so.
    """
    if suspended:
        return Headline(JobPhase.SUSPENDED, Reason.SUSPENDED, "spec.suspend is true")
    if prepare.phase is not StagePhase.SUCCEEDED:
        phase = JobPhase.PREPARING if is_live(prepare) else JobPhase.PENDING
        reason = Reason(prepare.reason or Reason.PENDING)
        doing = prepare.message or ""
        if prepare.phase is StagePhase.RUNNING:
            reason, doing = Reason.PREPARING, "data and configuration of all stages are being checked"
        return Headline(phase, reason, doing, is_stuck or reason in NEEDS_A_PERSON)
    if promotion is not None and all(stage.phase is StagePhase.SUCCEEDED for stage in stages):
        return _of_promotion(promotion)
    open_stages = [stage for stage in stages if not is_terminal(stage)]
    for stage in open_stages:
        reason = Reason(stage.reason or Reason.PENDING)
        if reason in NEEDS_A_PERSON:
            return Headline(JobPhase.RUNNING, reason, f"stage {stage.name}: {stage.message}", needs_a_person=True)
    for stage in open_stages:
        if is_live(stage):
            if stage.reason in (Reason.QUEUED, Reason.UNSCHEDULABLE):
                return Headline(JobPhase.RUNNING, Reason(stage.reason), f"stage {stage.name}: {stage.message}")
            reason = Reason.STARTING if stage.phase is StagePhase.STARTING else Reason.RUNNING
            return Headline(JobPhase.RUNNING, reason, f"stage {stage.name}, attempt {stage.attempt}")
    for stage in open_stages:
        if stage.reason == Reason.RESTARTING:
            return Headline(JobPhase.RUNNING, Reason.RESTARTING, f"stage {stage.name}: {stage.message}")
    return Headline(JobPhase.RUNNING, Reason.PENDING, "the next stage is about to start")


def _of_promotion(promotion: PromotionStatus) -> Headline:
    reason = Reason(promotion.reason or Reason.PENDING)
    if is_live(promotion) and reason in (Reason.STARTING, Reason.RUNNING):
        text = f"the model is being promoted, attempt {promotion.attempt}"
        return Headline(JobPhase.RUNNING, Reason.PROMOTING, text)
    text = f"the promotion: {promotion.message or ''}"
    return Headline(JobPhase.RUNNING, reason, text, reason in NEEDS_A_PERSON)
