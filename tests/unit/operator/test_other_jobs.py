"""Models of other jobs: what is waited for, what is said, and that what was found once counts for ever."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from alignment_api.conditions import ConditionType, Reason
from alignment_api.contract import RunConfig
from alignment_api.v1alpha1 import AlignmentJobSpec, JobPhase, ResolvedModel, StagePhase, uses

from .manifests import alignment_job, pipeline_spec
from .scene import Scene, kinds

FOLDER = "jobs/team-a/round-1-99999999"
PROMOTED = {"path": f"{FOLDER}/dpo/model", "digest": "sha256:1"}
SFT = {"path": f"{FOLDER}/sft/model", "digest": "sha256:2"}


def first_round(phase: str = "Succeeded", **status: Any) -> dict[str, Any]:
    """The other job; its gates hold."""
    gates = [{"metric": "winRate", "passed": True, "value": 0.7, "samples": 9}]
    stages = [
        {"name": "sft", "method": "sft", "phase": "Succeeded", "model": dict(SFT)},
        {"name": "dpo", "method": "dpo", "phase": "Succeeded", "model": dict(PROMOTED)},
        {"name": "check", "method": "evaluate", "phase": "Succeeded", "gates": gates},
    ]
    job = alignment_job(pipeline_spec(), name="round-1", uid="99999999-0000")
    return {**job, "status": {"phase": phase, "stages": stages, **status}}


def second_round(stage: str | None = None) -> Scene:
    reference = {"name": "round-1", **({"stage": stage} if stage else {})}
    return Scene(pipeline_spec(model={"fromJob": reference}))


def seen(scene: Scene, *others: dict[str, Any]) -> None:
    scene.extra["other_jobs"] = {other["metadata"]["name"]: other for other in others}


def message(scene: Scene) -> str:
    ready = scene.condition(ConditionType.READY)
    assert ready.reason == Reason.WAITING_FOR_JOB
    return ready.message


def without_promotion(job: dict[str, Any]) -> None:
    del job["spec"]["stages"][3]


def with_gates_failed(job: dict[str, Any]) -> None:
    job["status"]["stages"][2]["gates"][0]["passed"] = False


def with_candidate_of_the_hub(job: dict[str, Any]) -> None:
    job["spec"]["stages"][3]["evaluate"]["candidate"] = {"huggingFace": {"repository": "a/b"}}


def in_another_claim(job: dict[str, Any]) -> None:
    job["spec"]["workspace"] = {"persistentVolumeClaim": {"claimName": "elsewhere"}}


def with_lost_model(job: dict[str, Any]) -> None:
    del job["status"]["stages"][1]["model"]


def with_path_that_leads_out(job: dict[str, Any]) -> None:
    job["status"]["stages"][1]["model"]["path"] = "../../etc"


def that_is_deleted(job: dict[str, Any]) -> None:
    job["metadata"]["deletionTimestamp"] = "2026-11-20T12:00:00Z"


def that_is_of_another_version(job: dict[str, Any]) -> None:
    job["spec"]["surprise"] = 1


def that_failed(job: dict[str, Any]) -> None:
    job["status"]["phase"] = "Failed"


def that_runs(job: dict[str, Any]) -> None:
    job["status"]["phase"] = "Running"


def that_is_new(job: dict[str, Any]) -> None:
    del job["status"]


def that_is_suspended(job: dict[str, Any]) -> None:
    job["status"]["phase"] = "Suspended"
    job["spec"]["suspend"] = True


@pytest.mark.parametrize(
    ("change", "stage", "words", "stuck"),
    [
        (that_is_new, None, "waits until AlignmentJob round-1 is done", False),
        (that_runs, None, "waits until AlignmentJob round-1 is done", False),
        (that_runs, "sft", "waits until AlignmentJob round-1 is done", False),
        (that_is_suspended, None, "(it is suspended)", False),
        (that_is_deleted, None, "is being deleted", False),
        (that_failed, None, "AlignmentJob round-1 failed: delete it and create it again", True),
        (that_failed, "sft", "AlignmentJob round-1 failed", True),
        (with_gates_failed, None, "promoted no model", True),
        (without_promotion, None, "has no gates and so promotes no model: name a stage", True),
        (with_candidate_of_the_hub, None, "is of no stage of it: name a stage", True),
        (in_another_claim, None, "works in the claim elsewhere and this job in alignment", True),
        (with_lost_model, None, "does not say where the model of stage dpo is", True),
        (with_path_that_leads_out, None, "'../../etc', leads out of the workspace", True),
        (that_is_of_another_version, None, "cannot read AlignmentJob round-1", True),
        (lambda job: None, "dpp", "has no stage 'dpp'; it has sft, reward, dpo, check", True),
        (lambda job: None, "check", "stage check of AlignmentJob round-1 makes no model", True),
    ],
)
def test_what_is_waited_for(
    change: Callable[[dict[str, Any]], None], stage: str | None, words: str, stuck: bool
) -> None:
    scene, other = second_round(stage), first_round()
    change(other)
    seen(scene, other)
    decided = scene.reconcile()
    assert decided.apply == ()
    assert words in message(scene)
    assert message(scene).startswith("spec.model.fromJob: ")
    assert scene.status.phase is JobPhase.PENDING
    assert scene.holds(ConditionType.STALLED) is stuck
    assert scene.holds(ConditionType.RECONCILING) is not stuck
    assert decided.wake_at is not None
    again = scene.decide()
    assert (again.urgent, again.events, again.status) == (False, (), scene.status)
    seen(scene, first_round())
    if stage not in ("dpp", "check"):  # created anew, the other one is what was waited for
        scene.reconcile()
        assert kinds(scene.reconcile()) == ["ConfigMap", "Job"]


def test_a_job_that_is_not_there_yet_is_waited_for() -> None:
    scene = second_round()
    told = scene.reconcile().events
    assert [(event.type, event.reason) for event in told] == [("Normal", Reason.WAITING_FOR_JOB)]
    assert "round-1, which does not exist yet" in message(scene)
    assert scene.stage("sft").reason == Reason.WAITING_FOR_JOB
    assert not scene.holds(ConditionType.STALLED)


def test_a_job_cannot_wait_for_itself() -> None:
    scene = Scene(pipeline_spec(model={"fromJob": {"name": "assistant"}}))
    seen(scene, {**scene.cluster.job, "status": first_round()["status"]})
    scene.reconcile()
    assert "assistant is this job itself" in message(scene)
    assert scene.holds(ConditionType.STALLED)


@pytest.mark.parametrize(("stage", "model"), [(None, PROMOTED), ("sft", SFT)])
def test_what_is_found_is_stored_before_it_is_acted_upon(stage: str | None, model: dict[str, str]) -> None:
    scene = second_round(stage)
    seen(scene, first_round())
    first = scene.reconcile()
    assert first.apply == ()
    assert first.urgent
    assert first.wake_at == scene.cluster.now
    found = scene.status.models or []
    assert [(one.field, one.job, one.uid, one.model.path) for one in found] == [
        ("spec.model", "round-1", "99999999-0000", model["path"])
    ]
    seen(scene)
    config, job = scene.reconcile().apply
    assert job["kind"] == "Job"
    spec = RunConfig.model_validate_json(config["data"]["job.json"]).spec
    assert spec.model is not None
    assert spec.model.volume is not None
    assert spec.model.volume.path == model["path"]
    assert "fromJob" not in config["data"]["job.json"]


def test_what_was_promoted_to_a_place_is_taken_from_there() -> None:
    other = first_round()
    other["spec"]["promotion"] = {"to": [{"volume": {"path": "models/best"}}]}
    result = {"candidate": "candidate", "model": {"path": "models/best", "digest": "sha256:1"}}
    other["status"]["promotion"] = {"phase": "Succeeded", "result": result}
    scene = second_round()
    seen(scene, other)
    scene.reconcile()
    assert [one.model.path for one in scene.status.models or []] == ["models/best"]


def test_later_changes_of_the_other_job_do_not_matter() -> None:
    scene, other = second_round(), first_round()
    seen(scene, other)
    scene.reconcile()
    scene.reconcile()
    names = set(scene.cluster.jobs)
    that_failed(other)
    other["metadata"]["uid"] = "another"
    with_path_that_leads_out(other)
    scene.run_pods()
    scene.end("-prepare-", 137)
    for _ in range(3):
        scene.reconcile()
        scene.cluster.pass_time(1)
    assert scene.status.prepare is not None
    assert scene.status.prepare.attempt == 2, "it is tried again without the other job"
    assert names < set(scene.cluster.jobs)
    scene.extra.clear()
    scene.run_stage("-prepare-")
    for stage in ("sft", "reward", "dpo", "check"):
        assert scene.stage(stage).phase is StagePhase.STARTING
        scene.run_stage(f"-{stage}-")
    assert scene.holds(ConditionType.COMPLETE)


def test_each_reference_is_found_by_itself_and_kept() -> None:
    spec = pipeline_spec(model={"fromJob": {"name": "round-1"}})
    spec["stages"][3]["evaluate"]["baseline"] = {"fromJob": {"name": "round-0", "stage": "sft"}}
    scene, earlier = Scene(spec), first_round()
    seen(scene, earlier)
    scene.reconcile()
    assert "spec.stages[3].evaluate.baseline.fromJob: waits for AlignmentJob round-0" in message(scene)
    assert "spec.model" not in message(scene)
    other = copy.deepcopy(earlier)
    other["metadata"].update(name="round-0", uid="88888888-0000")
    seen(scene, other)  # round-1 is gone meanwhile
    scene.reconcile()
    assert [one.field for one in scene.status.models or []] == ["spec.model", "spec.stages[3].evaluate.baseline"]
    assert kinds(scene.reconcile()) == ["ConfigMap", "Job"]


def test_the_claim_that_a_job_made_may_be_named_by_another() -> None:
    other = first_round()
    other["spec"]["workspace"] = {"volumeClaimTemplate": {"storage": "1Gi"}}
    spec = pipeline_spec(model={"fromJob": {"name": "round-1"}})
    spec["workspace"]["persistentVolumeClaim"]["claimName"] = "round-1-workspace"
    scene = Scene(spec)
    seen(scene, other)
    scene.reconcile()
    assert scene.status.models


def test_suspended_it_does_not_look() -> None:
    scene = Scene(pipeline_spec(model={"fromJob": {"name": "round-1"}}, suspend=True))
    seen(scene, first_round())
    scene.reconcile()
    assert scene.status.models is None
    assert scene.status.phase is JobPhase.SUSPENDED


def test_every_reference_is_replaced_wherever_a_model_can_be_named() -> None:
    """The fields that are replaced are all that `uses` knows, and what a manifest leaves out stays out."""
    reference = {"fromJob": {"name": "round-1"}}
    spec = pipeline_spec(model=reference)
    spec["stages"][1]["model"] = reference
    spec["stages"][2]["dpo"] = {"reference": reference}
    evaluate = spec["stages"][3]["evaluate"]
    del evaluate["candidate"]
    evaluate["candidates"] = [{"name": "a", "model": {"fromStage": "dpo"}}, {"name": "b", "model": reference}]
    evaluate["judges"][0]["rewardModel"] = reference
    given = AlignmentJobSpec.model_validate(spec)
    fields = [use.field for use in uses.job_models(given)]
    assert len(fields) == 5
    found = [
        ResolvedModel.model_validate({"field": field, "job": "round-1", "uid": "u", "model": {**SFT, "path": f"m/{n}"}})
        for n, field in enumerate(fields)
    ]
    replaced = uses.with_job_models(given, found)
    assert list(uses.job_models(replaced)) == []
    written = replaced.model_dump(mode="json", by_alias=True, exclude_unset=True)
    paths = iter(range(len(fields)))
    before = given.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert written == _with_references(before, lambda: {"volume": {"path": f"m/{next(paths)}"}})
    assert uses.with_job_models(given, []) is given


def _with_references(value: Any, replacement: Callable[[], Any]) -> Any:
    if isinstance(value, dict):
        if "fromJob" in value:
            return replacement()
        return {name: _with_references(below, replacement) for name, below in value.items()}
    return [_with_references(below, replacement) for below in value] if isinstance(value, list) else value
