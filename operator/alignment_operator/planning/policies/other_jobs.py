"""Models of other AlignmentJobs: the job waits until each is there, and keeps to what it found.

A reference is looked at until it is resolved, and never again: what becomes of the other job later does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from alignment_api.conditions import Reason
from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import (
    AlignmentJobSpec,
    AlignmentJobStatus,
    JobPhase,
    Method,
    ModelStatus,
    ResolvedModel,
    StageStatus,
    uses,
)
from alignment_api.v1alpha1.model import VolumeModel

from ...builders.workspace_claim import claim_of
from ...status.gates import chosen_candidate, verdict
from ...status.runs import waiting
from ..context import Context
from ..observed import Manifest
from ..pipeline import Pipeline

_LOOK_AGAIN: Final = timedelta(seconds=30)
"""News of the other job come as events; this is for those that were missed."""


@dataclass(frozen=True)
class _Pending:
    """Why a reference is not resolved yet.

    Attributes:
        is_stuck: whether somebody has to change something first.
    """

    why: str
    is_stuck: bool = False


def resolve(pipeline: Pipeline, context: Context) -> Pipeline | None:
    """``pipeline`` with what became of references to other jobs; None when there is nothing to wait for.

    What is found is acted upon only when the stored status knows it, and it stands in the specification in place of
    the reference: until then the other job may change.
    """
    references = tuple(uses.job_models(context.spec))
    if not references:
        return None
    models = list(context.stored.models or ())
    pending: list[tuple[str, _Pending]] = []
    for use in references:
        found = _look(use, context)
        if isinstance(found, _Pending):
            pending.append((use.field, found))
        else:
            models.append(found)
    pipeline = replace(pipeline, models=tuple(models), is_stuck=any(one.is_stuck for _, one in pending))
    text = "; ".join(f"{field}.fromJob: {one.why}" for field, one in pending) or "the models of other jobs are found"
    # What is found is stored first, and the job looked at again with it.
    look_again = context.now + _LOOK_AGAIN if pending else context.now
    return pipeline.with_run(waiting(pipeline.prepare, Reason.WAITING_FOR_JOB, text)).waking(look_again)


def _look(use: uses.JobUse, context: Context) -> ResolvedModel | _Pending:
    name = use.source.name
    if name == context.job.name:
        return _Pending(f"{name} is this job itself: name another", is_stuck=True)
    other = context.observed.other_jobs.get(name)
    if other is None:
        return _Pending(f"waits for AlignmentJob {name}, which does not exist yet")
    if "deletionTimestamp" in other["metadata"]:
        return _Pending(f"waits for AlignmentJob {name}, which is being deleted, to be created again")
    try:
        spec = AlignmentJobSpec.model_validate(other["spec"])
        status = AlignmentJobStatus.model_validate(other.get("status") or {})
    except ValidationError:
        return _Pending(f"this version of the operator cannot read AlignmentJob {name}", is_stuck=True)
    reference = JobReference(namespace=context.job.namespace, name=name, uid=other["metadata"]["uid"])
    found = _mismatch(use, reference, spec, context) or _unfinished(name, other, status) or _model_of(use, spec, status)
    if isinstance(found, _Pending):
        return found
    try:
        VolumeModel(path=found.path)
    except ValidationError:
        return _Pending(f"the path of its model, {found.path!r}, leads out of the workspace", is_stuck=True)
    return ResolvedModel(field=use.field, job=name, uid=reference.uid, model=found)


def _mismatch(use: uses.JobUse, reference: JobReference, spec: AlignmentJobSpec, context: Context) -> _Pending | None:
    """Why the other job, whatever becomes of it, has no such model for this one."""
    own, its = claim_of(context.job, context.spec), claim_of(reference, spec)
    if own != its:
        return _Pending(
            f"AlignmentJob {reference.name} works in the claim {its} and this job in {own}, where its models are not: "
            "create one of them anew with the other's claim",
            is_stuck=True,
        )
    if use.source.stage is not None:
        stages = {stage.name: stage for stage in spec.stages}
        if use.source.stage not in stages:
            return _Pending(
                f"AlignmentJob {reference.name} has no stage {use.source.stage!r}; it has {', '.join(stages)}",
                is_stuck=True,
            )
        if stages[use.source.stage].method is Method.EVALUATE:
            text = f"stage {use.source.stage} of AlignmentJob {reference.name} makes no model: name one that trains"
            return _Pending(text, is_stuck=True)
    elif spec.promoting_stage() is None:
        text = f"AlignmentJob {reference.name} has no gates and so promotes no model: name a stage of it"
        return _Pending(text, is_stuck=True)
    return None


def _unfinished(name: str, other: Manifest, status: AlignmentJobStatus) -> _Pending | None:
    if status.phase is JobPhase.SUCCEEDED:
        return None
    if status.phase is JobPhase.FAILED:
        text = f"AlignmentJob {name} failed: delete it and create it again, and this job goes on when it is done"
        return _Pending(text, is_stuck=True)
    suspended = " (it is suspended)" if other["spec"].get("suspend") else ""
    return _Pending(f"waits until AlignmentJob {name} is done{suspended}")


def _model_of(use: uses.JobUse, spec: AlignmentJobSpec, status: AlignmentJobStatus) -> ModelStatus | _Pending:
    """The model of a job that succeeded."""
    stages = tuple(status.stages or ())
    if use.source.stage is not None:
        return _model_of_stage(use.source.name, use.source.stage, stages)
    if status.promotion is not None and status.promotion.result is not None:
        return status.promotion.result.model
    judged, promoting = verdict(spec, stages), spec.promoting_stage()
    if judged is None or promoting is None or not judged.passed:
        text = f"AlignmentJob {use.source.name} promoted no model, as not all of its gates hold: name a stage of it"
        return _Pending(f"{text}, or create it again with a better one", is_stuck=True)
    found = next((stage for stage in stages if stage.name == promoting.name), None)
    chosen = chosen_candidate(promoting, found) if found is not None else None
    candidates = promoting.evaluate.candidate_fields() if promoting.evaluate is not None else {}
    trained_by = candidates[chosen][1].from_stage if chosen in candidates else None
    if trained_by is None:
        text = f"the model that AlignmentJob {use.source.name} chose is of no stage of it: name a stage, or its path"
        return _Pending(f"{text} by `volume`", is_stuck=True)
    return _model_of_stage(use.source.name, trained_by, stages)


def _model_of_stage(job: str, stage: str, stages: Sequence[StageStatus]) -> ModelStatus | _Pending:
    found = next((one.model for one in stages if one.name == stage), None)
    if found is None:
        text = f"the status of AlignmentJob {job} does not say where the model of stage {stage} is (its Pod was gone)"
        return _Pending(f"{text}: name its folder in the workspace by `volume`", is_stuck=True)
    return found
