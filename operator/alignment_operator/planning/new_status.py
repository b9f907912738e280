"""The status of a whole job, put together."""

from __future__ import annotations

from datetime import datetime

from alignment_api.v1alpha1 import AlignmentJobStatus

from ..status.conditions import conditions_of
from ..status.current import current_stage
from ..status.headline import Headline
from ..status.promoted import Told
from .pipeline import Pipeline


def compose_status(
    stored: AlignmentJobStatus,
    headline: Headline,
    pipeline: Pipeline | None,
    *,
    promoted: Told | None = None,
    avoided: tuple[str, ...] = (),
    rejection: str | None,
    generation: int,
    now: datetime,
) -> AlignmentJobStatus:
    """The new status.

    Args:
        stored: the status before.
        headline: what is going on.
        pipeline: state of all runs; None leaves them as they are stored.
        promoted: what the condition Promoted says; None leaves what it said.
        avoided: nodes that new attempts avoid.
        rejection: what is wrong with the specification; None for an accepted one.
        generation: metadata.generation that this is decided from.
        now: the present time.
    """
    stages = list(pipeline.stages) if pipeline else stored.stages
    return AlignmentJobStatus(
        observed_generation=generation,
        phase=headline.phase,
        conditions=conditions_of(stored.conditions or [], headline, promoted, rejection, generation, now),
        start_time=stored.start_time or (now if rejection is None else None),
        completion_time=stored.completion_time or (now if headline.is_final else None),
        restarts=pipeline.restarts if pipeline else stored.restarts,
        failures=(dict(pipeline.failures) or None) if pipeline else stored.failures,
        node_failures=(dict(pipeline.node_failures) or None) if pipeline else stored.node_failures,
        avoided_nodes=(list(avoided) or None) if pipeline else stored.avoided_nodes,
        current=current_stage(stages or []),
        prepare=pipeline.prepare if pipeline else stored.prepare,
        stages=stages,
        promotion=pipeline.promotion if pipeline else stored.promotion,
        models=(list(pipeline.models) or None) if pipeline else stored.models,
        report=pipeline.report if pipeline else stored.report,
    )


def with_generation(status: AlignmentJobStatus, generation: int) -> AlignmentJobStatus:
    """``status`` as decided from ``generation``: what an ended job says does not depend on it, but kstatus asks."""
    conditions = [
        condition.model_copy(update={"observed_generation": generation}) for condition in status.conditions or []
    ]
    return status.model_copy(update={"observed_generation": generation, "conditions": conditions})


def is_urgent(old: AlignmentJobStatus, new: AlignmentJobStatus) -> bool:
    """Whether more changed than numbers and wording."""
    return _essence(old) != _essence(new)


def _essence(status: AlignmentJobStatus) -> object:
    return (
        status.observed_generation,
        status.phase,
        [(condition.type, condition.status, condition.reason) for condition in status.conditions or []],
        status.prepare and (status.prepare.phase, status.prepare.reason, status.prepare.attempt),
        status.promotion and (status.promotion.phase, status.promotion.reason, status.promotion.attempt),
        status.models,
        status.report,
        [
            (stage.phase, stage.reason, stage.attempt, stage.data, stage.model, stage.gates)
            for stage in status.stages or []
        ],
    )
