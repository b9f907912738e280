"""Which Jobs and Pods must go: all that belong to no attempt that shall go on."""

from __future__ import annotations

from ...status.runs import is_live
from ..actions import ObjectKey
from ..context import Context
from ..pipeline import Pipeline


def surplus(pipeline: Pipeline, context: Context, *, ended: bool = False) -> tuple[tuple[ObjectKey, ...], bool]:
    """What to delete now, and whether more must be deleted once the new status is stored.

    Policies change what the status says of a run; that its Job must go follows from here alone, and is found again
    after any crash. An attempt whose number the stored status does not know yet is spared until it does, so that the
    number cannot be used twice; of a job that has ended (``ended``) no number will be.
    """
    delete: list[ObjectKey] = []
    later = False
    for name, run in pipeline.runs():
        stored = context.stored_run(name)
        for attempt in context.attempts_of(name).all:
            if is_live(run) and attempt.number == run.attempt:
                continue
            targets = attempt.to_stop()
            if ended or (stored is not None and attempt.number <= stored.attempt):
                delete += targets
            else:
                later = later or bool(targets)
    return tuple(delete), later
