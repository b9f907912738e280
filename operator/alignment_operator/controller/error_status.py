"""The status of a job whose plan the API server refused to have carried out; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from alignment_api.conditions import ConditionType, Reason
from alignment_api.v1alpha1 import AlignmentJobStatus, Condition, JobPhase

from ..exceptions import RejectedError
from ..planning.observed import Manifest
from ..status.text import bounded

_SHOWN_BY: Final = {ConditionType.READY: "False", ConditionType.STALLED: "True"}
"""The conditions that show a refusal, and their status then."""


def status_of_rejection(job: Manifest, error: RejectedError, now: datetime) -> AlignmentJobStatus:
    """The status when an object of ``job`` was refused, such as a Job with an invalid affinity or over a quota.

    All that was known stays, since nothing new happened. The refusal is shown until a plan succeeds and overwrites it;
    seen again, it gives the same status, so that nothing is written.
    """
    status = AlignmentJobStatus.model_validate(job.get("status") or {"phase": JobPhase.PENDING})
    generation = job["metadata"].get("generation")
    message = f"{error}. Change what it names, such as the job's podTemplate or a quota; the operator keeps trying."
    known = {condition.type: condition for condition in status.conditions or ()}
    for type_, value in _SHOWN_BY.items():
        before = known.get(type_)
        known[type_] = Condition.model_validate(
            {
                "type": type_,
                "status": value,
                "reason": Reason.RECONCILE_ERROR,
                "message": bounded(message),
                "lastTransitionTime": before.last_transition_time if before and before.status == value else now,
                "observedGeneration": generation,
            }
        )
    return status.model_copy(update={"conditions": list(known.values()), "observed_generation": generation})
