"""What people are told when the status changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from alignment_api.conditions import ConditionType, Reason
from alignment_api.v1alpha1 import (
    AlignmentJobStatus,
    JobPhase,
    PrepareStatus,
    PromotionStatus,
    RunStatus,
    StagePhase,
    StageStatus,
)

from ..status.conditions import holds
from ..status.runs import is_live
from ..status.waiting import NEEDS_A_PERSON
from .actions import Event

_HINDRANCES: Final = NEEDS_A_PERSON | {Reason.UNSCHEDULABLE}


def events_between(old: AlignmentJobStatus, new: AlignmentJobStatus) -> tuple[Event, ...]:
    """The events that explain how ``old`` became ``new``; none when only numbers changed.

    Each costs a write: that the Pods of an attempt run has none, nor has the success of the last stage, which is the
    job's.
    """
    return tuple(_events(old, new))


def _events(old: AlignmentJobStatus, new: AlignmentJobStatus) -> Iterator[Event]:
    if holds(new.conditions, ConditionType.SUSPENDED) != holds(old.conditions, ConditionType.SUSPENDED):
        if new.phase is JobPhase.SUSPENDED:
            yield Event("Normal", Reason.SUSPENDED, "suspended: all Pods are being stopped")
        else:
            yield Event("Normal", Reason.RESUMED, "goes on from the last checkpoints")
    if new.prepare is not None:
        previous_prepare = old.prepare or PrepareStatus()
        yield from _run_events("Prepare", previous_prepare, new.prepare)
        if new.prepare.reason == Reason.WAITING_FOR_JOB != previous_prepare.reason:
            yield Event("Normal", Reason.WAITING_FOR_JOB, new.prepare.message or "")
        if _succeeded(previous_prepare, new.prepare):
            yield Event("Normal", Reason.PREPARED, "data and configuration of all stages are good")
    before = {stage.name: stage for stage in old.stages or ()}
    for stage in new.stages or ():
        previous = before.get(stage.name) or StageStatus(name=stage.name, method=stage.method)
        yield from _run_events(f"stage {stage.name}", previous, stage)
        if _succeeded(previous, stage) and new.phase is not JobPhase.SUCCEEDED:
            yield Event("Normal", Reason.SUCCEEDED, f"stage {stage.name}: {stage.message}")
    if new.promotion is not None:
        yield from _run_events("the promotion", old.promotion or PromotionStatus(), new.promotion)
    if new.phase is not old.phase:
        yield from _final_events(new)


def _run_events(what: str, old: RunStatus, new: RunStatus) -> Iterator[Event]:
    if new.failures and (not old.failures or new.failures[-1].attempt > old.failures[-1].attempt):
        last = new.failures[-1]
        yield Event("Warning", last.reason, f"{what}, attempt {last.attempt}: {last.message}")
    if new.attempt > old.attempt and is_live(new):
        yield Event("Normal", Reason.STARTING, f"{what}: attempt {new.attempt} is being started")
    if new.reason in _HINDRANCES and new.reason != old.reason and new.phase is not StagePhase.PREPARING:
        yield Event("Warning", Reason(new.reason), f"{what}: {new.message or ''}")


def _succeeded(old: RunStatus, new: RunStatus) -> bool:
    return new.phase is StagePhase.SUCCEEDED and old.phase is not StagePhase.SUCCEEDED


def _final_events(new: AlignmentJobStatus) -> Iterator[Event]:
    conditions = {condition.type: condition for condition in new.conditions or ()}
    if new.phase is JobPhase.FAILED:
        failed = conditions[ConditionType.FAILED]
        yield Event("Warning", failed.reason, failed.message)
    if new.phase is JobPhase.SUCCEEDED:
        yield Event("Normal", Reason.SUCCEEDED, conditions[ConditionType.COMPLETE].message)
        promoted = conditions.get(ConditionType.PROMOTED)
        if promoted is not None:
            yield Event("Normal" if promoted.status == "True" else "Warning", promoted.reason, promoted.message)
