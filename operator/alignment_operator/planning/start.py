"""Which attempts begin now: Prepare, the gangs of stages whose turn it is, or the promotion."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import PromotionStatus, RunStatus, StagePhase, StageStatus

from ..builders.gang import Gang
from ..builders.gang_job import build_gang_job
from ..builders.network_policy import build_network_policy
from ..builders.pod_group import build_pod_group
from ..builders.prepare_job import build_prepare_job
from ..builders.promote_job import build_promote_job
from ..builders.rendezvous_service import build_rendezvous_service
from ..builders.run_config import build_run_config
from ..builders.workspace_claim import build_workspace_claim
from ..status.runs import Run, changed, is_live, is_terminal, started, waiting
from .allowances import forbidden_to_prepare, forbidden_to_stage
from .attempts import PREPARE, PROMOTION
from .context import Context
from .observed import Manifest
from .pipeline import Pipeline
from .policies.avoided_nodes import avoided_nodes
from .policies.order import unmet_dependencies
from .policies.other_jobs import resolve
from .policies.references import missing_references
from .policies.retries import restart_at
from .policies.shape import shape_for

_LOOK_AGAIN: Final = timedelta(seconds=30)


def start_what_can(pipeline: Pipeline, context: Context) -> Pipeline:
    """``pipeline`` with every attempt begun that nothing holds back, and the reasons of those that wait."""
    if not pipeline.is_prepared:
        return _stages_follow_prepare(_start_prepare(pipeline, context))
    pipeline = _start_gangs(pipeline, context)
    return pipeline if pipeline.promotion is None else _start_promotion(pipeline, pipeline.promotion, context)


def _start_prepare(pipeline: Pipeline, context: Context) -> Pipeline:
    prepare = pipeline.prepare
    if is_live(prepare):
        return pipeline
    waiting_for_jobs = resolve(pipeline, context)
    if waiting_for_jobs is not None:
        return waiting_for_jobs
    not_allowed = forbidden_to_prepare(context.spec, context.settings.allowances)
    if not_allowed:
        return pipeline.with_run(waiting(prepare, Reason.NOT_ALLOWED, "\n".join(map(str, not_allowed))))
    missing = missing_references(context)
    if missing is not None:
        return pipeline.with_run(waiting(prepare, missing.reason, missing.message)).waking(missing.look_again)
    held_until = _held_until(prepare, PREPARE, context)
    if held_until is not None:
        return pipeline.with_run(_holding(prepare)).waking(held_until)
    number = prepare.attempt + 1
    manifests: list[dict[str, Any]] = []
    if context.spec.workspace.volume_claim_template is not None:
        manifests.append(build_workspace_claim(context.job, context.spec.workspace.volume_claim_template))
    manifests.append(build_run_config(context.job, context.spec))
    if context.settings.gang_traffic is not None:
        manifests.append(build_network_policy(context.job, context.spec, context.settings.gang_traffic))
    manifests.append(build_prepare_job(context.job, context.spec, number, context.settings))
    return replace(pipeline, apply=(*pipeline.apply, *manifests)).with_run(started(prepare, number, context.now))


def _stages_follow_prepare(pipeline: Pipeline) -> Pipeline:
    """Until Prepare succeeds, all stages show what Prepare does or waits for."""
    prepare = pipeline.prepare
    for stage in pipeline.stages:
        if is_live(prepare):
            reason = (
                Reason(prepare.reason or Reason.STARTING) if prepare.phase is StagePhase.STARTING else Reason.PREPARING
            )
            shown = changed(stage, StagePhase.PREPARING, reason, prepare.message or "")
        else:
            shown = waiting(stage, Reason(prepare.reason or Reason.PENDING), prepare.message or "")
        pipeline = pipeline.with_run(shown)
    return pipeline if pipeline.promotion is None else pipeline.with_run(_before_its_turn(pipeline.promotion))


def _start_gangs(pipeline: Pipeline, context: Context) -> Pipeline:
    """Begun stages go before new ones: a gang that restarts keeps its place."""
    candidates = [stage for stage in pipeline.stages if not (is_live(stage) or is_terminal(stage))]
    for stage in sorted(candidates, key=lambda stage: stage.attempt == 0):
        pipeline = _start_or_explain(pipeline, stage, context)
    return pipeline


def _start_or_explain(pipeline: Pipeline, stage: StageStatus, context: Context) -> Pipeline:
    unmet = unmet_dependencies(pipeline, context.spec, stage.name)
    if unmet:
        return pipeline.with_run(waiting(stage, Reason.WAITING_FOR_STAGE, f"waits for {', '.join(unmet)}"))
    not_allowed = forbidden_to_stage(context.spec, stage.name, context.settings.allowances)
    if not_allowed:
        return pipeline.with_run(waiting(stage, Reason.NOT_ALLOWED, "\n".join(map(str, not_allowed))))
    slots = context.spec.run_policy.max_parallel_stages
    holders = _slot_holders(pipeline, context, stage.name)
    if len(holders) >= slots:
        text = f"waits for {', '.join(holders)} (runPolicy.maxParallelStages is {slots})"
        return pipeline.with_run(waiting(stage, Reason.WAITING_FOR_SLOT, text))
    held_until = _held_until(stage, stage.name, context)
    if held_until is not None:
        return pipeline.with_run(_holding(stage)).waking(held_until)
    number = stage.attempt + 1
    gang = Gang(
        stage=stage.name,
        attempt=number,
        shape=shape_for(context.spec, stage),
        avoided_nodes=avoided_nodes(pipeline.node_failures, context.spec.run_policy),
        resumes=stage.checkpoint is not None,
    )
    manifests = _missing_run_config(context)
    if gang.shape.nodes > 1:
        manifests.append(build_rendezvous_service(context.job, stage.name))
    if context.spec.scheduling.pod_group is not None:
        manifests.append(build_pod_group(context.job, context.spec, gang))
    manifests.append(build_gang_job(context.job, context.spec, gang, context.settings))
    in_queue = context.spec.scheduling.queue_name is not None
    begun = started(stage, number, context.now, in_queue=in_queue)
    return replace(pipeline, apply=(*pipeline.apply, *manifests)).with_run(begun)


def _start_promotion(pipeline: Pipeline, promotion: PromotionStatus, context: Context) -> Pipeline:
    """It begins when all stages succeeded; that all gates hold is seen before (`end`)."""
    if is_live(promotion) or is_terminal(promotion):
        return pipeline
    if not pipeline.are_stages_done:
        return pipeline.with_run(_before_its_turn(promotion))
    not_allowed = forbidden_to_prepare(context.spec, context.settings.allowances)
    if not_allowed:
        return pipeline.with_run(waiting(promotion, Reason.NOT_ALLOWED, "\n".join(map(str, not_allowed))))
    held_until = _held_until(promotion, PROMOTION, context)
    if held_until is not None:
        return pipeline.with_run(_holding(promotion)).waking(held_until)
    number = promotion.attempt + 1
    job = build_promote_job(context.job, context.spec, number, context.settings)
    begun = started(promotion, number, context.now)
    return replace(pipeline, apply=(*pipeline.apply, *_missing_run_config(context), job)).with_run(begun)


def _before_its_turn(promotion: PromotionStatus) -> PromotionStatus:
    return waiting(promotion, Reason.WAITING_FOR_STAGE, "waits for the gates of all stages")


def _missing_run_config(context: Context) -> list[dict[str, Any]]:
    run_config = build_run_config(context.job, context.spec)
    return [] if _is_mounted(run_config, context) else [run_config]


def _is_mounted(run_config: Manifest, context: Context) -> bool:
    """Whether a Job of this AlignmentJob mounts the ConfigMap, which is proof that it was made: it comes first.

    Prepare's Job is such a one, unless it was deleted or another version of the operator wrote the configuration
    differently, and so under another name.
    """
    name = run_config["metadata"]["name"]
    return any(
        volume.get("configMap", {}).get("name") == name
        for job in context.observed.jobs
        for volume in job["spec"]["template"]["spec"].get("volumes") or ()
    )


def _slot_holders(pipeline: Pipeline, context: Context, besides: str) -> list[str]:
    """Stages whose Pods hold nodes, or will again after a pause."""
    return [
        other.name
        for other in pipeline.stages
        if other.name != besides
        and (
            is_live(other)
            or (other.attempt > 0 and not is_terminal(other))
            or not context.attempts_of(other.name).are_over(context.now)
        )
    ]


def _held_until(run: RunStatus, name: str, context: Context) -> datetime | None:
    """When to look whether the next attempt can start; None when it can now.

    It waits until the end of the attempt before is stored in the status (else that end would be seen, and counted,
    again), for the Pods of the attempt before, of which deleted ones on lost nodes are given up some time, and for
    the pause after a failure. Pods whose end cannot be foreseen are looked at again in a while,
    though their end comes as an event.
    """
    if run.attempt > 0 and not _end_is_stored(run, name, context):
        return context.now
    attempts = context.attempts_of(name)
    if not attempts.are_over(context.now):
        return attempts.presumed_over_at(context.now) or context.now + _LOOK_AGAIN
    pause_ends = restart_at(run, context)
    return pause_ends if pause_ends is not None and context.now < pause_ends else None


def _holding(run: Run) -> Run:
    """``run`` as shown while it is held: a failure stays in sight, an earlier reason to wait does not."""
    if run.reason == Reason.RESTARTING:
        return run
    text = f"attempt {run.attempt + 1} starts when the Pods of the attempt before have ended"
    return waiting(run, Reason.RESTARTING, text)


def _end_is_stored(run: RunStatus, name: str, context: Context) -> bool:
    stored = context.stored_run(name)
    return stored is not None and stored.attempt == run.attempt and not is_live(stored)
