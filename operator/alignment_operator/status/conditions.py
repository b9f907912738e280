"""The conditions of a job, made from its headline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from alignment_api.conditions import ConditionType, Reason
from alignment_api.v1alpha1 import Condition, JobPhase

from .headline import Headline
from .promoted import Told
from .text import bounded

_AT_WORK: Final = frozenset({JobPhase.PENDING, JobPhase.PREPARING, JobPhase.RUNNING})


def conditions_of(
    previous: Sequence[Condition],
    headline: Headline,
    promoted: Told | None,
    rejection: str | None,
    generation: int,
    now: datetime,
) -> list[Condition]:
    """All conditions of the job; those that hold no more are False, those that never held are absent.

    Ready, Reconciling and Stalled follow kstatus: of the latter two at most one is true, and neither is once the job
    is Ready. Complete and Failed follow batch/v1.

    Args:
        previous: the conditions before, for their transition times.
        promoted: what to say of the promotion; None leaves what was said.
        rejection: what is wrong with the specification; None for an accepted one.
        generation: metadata.generation that this is decided from.
    """
    held = {condition.type for condition in previous}
    told: dict[ConditionType, Told] = {}

    def tell(kind: ConditionType, holds: bool, reason: Reason, message: str) -> None:
        told[kind] = Told("True" if holds else "False", reason, message)

    if rejection is None:
        tell(ConditionType.ACCEPTED, True, Reason.VALID, "the specification is valid")
    else:
        tell(ConditionType.ACCEPTED, False, Reason.INVALID_SPEC, rejection)
    why = headline.reason, headline.message
    failed = headline.phase is JobPhase.FAILED
    complete = headline.phase is JobPhase.SUCCEEDED
    stalled = failed or headline.needs_a_person
    tell(ConditionType.READY, complete, *why)
    tell(ConditionType.RECONCILING, headline.phase in _AT_WORK and not stalled, *why)
    tell(ConditionType.STALLED, stalled, *why)
    if headline.phase is JobPhase.SUSPENDED:
        tell(ConditionType.SUSPENDED, True, *why)
    elif ConditionType.SUSPENDED in held:
        tell(ConditionType.SUSPENDED, False, Reason.RESUMED, "spec.suspend is false")
    if complete:
        tell(ConditionType.COMPLETE, True, *why)
    if promoted is not None:
        told[ConditionType.PROMOTED] = promoted
    if failed:
        tell(ConditionType.FAILED, True, *why)
    kept = [condition for condition in previous if condition.type == ConditionType.PROMOTED and promoted is None]
    return [*(_condition(previous, kind, words, generation, now) for kind, words in told.items()), *kept]


def holds(conditions: Sequence[Condition] | None, kind: ConditionType) -> bool:
    """Whether the condition is there and true."""
    return any(condition.type == kind and condition.status == "True" for condition in conditions or ())


def _condition(
    previous: Sequence[Condition],
    kind: ConditionType,
    words: Told,
    generation: int,
    now: datetime,
) -> Condition:
    before = next((condition for condition in previous if condition.type == kind), None)
    return Condition(
        type=kind.value,
        status=words.truth,
        reason=words.reason.value,
        message=bounded(words.message),
        last_transition_time=before.last_transition_time if before and before.status == words.truth else now,
        observed_generation=generation,
    )
