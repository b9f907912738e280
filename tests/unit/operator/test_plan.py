"""What the plan decides, case by case: the good course, refusals, Prepare."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from alignment_api.conditions import ConditionType, Reason
from alignment_api.contract import Problem, Progress, Summary, TrainerPhase
from alignment_api.v1alpha1 import JobPhase, StagePhase
from alignment_operator.planning.actions import Plan
from alignment_operator.planning.observed import Observed
from alignment_operator.planning.plan import plan
from alignment_operator.status.text import bounded

from .manifests import EPOCH, SETTINGS, alignment_job, pipeline_spec
from .scene import Scene, kinds, one_stage_spec


class TestGoodCourse:
    def test_prepare_then_stages_in_order_of_their_references(self) -> None:
        scene = Scene()
        assert kinds(scene.reconcile()) == ["ConfigMap", "Job"]
        assert scene.stage("check").phase is StagePhase.PREPARING
        started = scene.run_stage("-prepare-")
        assert kinds(started) == ["Service", "Job"], "the ConfigMap is there: Prepare's Job mounts it"
        assert [stage.phase for stage in scene.status.stages or []] == [StagePhase.STARTING] + [StagePhase.WAITING] * 3
        for stage in ("sft", "reward", "dpo", "check"):
            assert scene.stage(stage).phase is StagePhase.STARTING
            scene.run_stage(f"-{stage}-")
        assert scene.status.phase is JobPhase.SUCCEEDED
        assert scene.holds(ConditionType.COMPLETE)
        assert scene.holds(ConditionType.READY)
        assert not scene.holds(ConditionType.RECONCILING)
        promoted = scene.condition(ConditionType.PROMOTED)
        assert (promoted.status, promoted.reason) == ("False", Reason.GATES_FAILED)
        assert promoted.message == "stage check: winRate failed: it was not reported (at least 0.55 wanted)"

    def test_the_configuration_is_made_again_when_no_job_mounts_it(self) -> None:
        scene = Scene()
        scene.reconcile()
        scene.run_pods()
        scene.end("-prepare-")
        scene.cluster.jobs[scene.job_of("-prepare-")]["spec"]["template"]["spec"]["volumes"] = []
        assert kinds(scene.reconcile()) == ["ConfigMap", "Service", "Job"]

    def test_events_tell_the_story_once(self) -> None:
        scene = Scene(one_stage_spec())
        told = [*scene.reconcile().events, *scene.run_stage("-prepare-").events]
        scene.run_pods()
        told += [*scene.reconcile().events, *scene.run_stage("-sft-").events]
        assert [(event.reason, event.message) for event in told] == [
            (Reason.STARTING, "Prepare: attempt 1 is being started"),
            (Reason.PREPARED, "data and configuration of all stages are good"),
            (Reason.STARTING, "stage sft: attempt 1 is being started"),
            (Reason.SUCCEEDED, "all stages succeeded"),
        ]

    def test_parallel_stages_start_together(self) -> None:
        scene = Scene(pipeline_spec(runPolicy={"maxParallelStages": 2}))
        scene.until_first_gang()
        scene.run_stage("-sft-")
        assert scene.stage("reward").phase is scene.stage("dpo").phase is StagePhase.STARTING
        assert scene.stage("check").reason == Reason.WAITING_FOR_STAGE

    def test_results_and_verdict(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        model = {"path": "jobs/team-a/assistant-0b7f2c1e/sft/model", "digest": "sha256:0"}
        last = Progress(
            stage="sft",
            attempt=1,
            phase=TrainerPhase.FINISHED,
            step=50,
            total_steps=50,
            metrics={"loss": 0.5},
            updated_at=EPOCH,
        )
        mark = {"step": 50, "path": "c", "time": EPOCH}
        scene.run_stage(
            "-sft-", Summary.model_validate({"exitCode": 0, "model": model, "checkpoint": mark, "progress": last})
        )
        sft = scene.stage("sft")
        assert sft.model is not None
        assert sft.progress is not None
        assert sft.checkpoint is not None
        assert (sft.model.digest, sft.progress.percent, sft.checkpoint.step) == ("sha256:0", 100, 50)
        assert sft.metrics == {"loss": 0.5}
        scene.run_stage("-reward-")
        scene.run_stage("-dpo-")
        gate = {"metric": "winRate", "passed": False, "value": 0.41, "atLeast": 0.55, "samples": 64}
        scene.run_stage("-check-", Summary.model_validate({"exitCode": 0, "gates": [gate]}))
        promoted = scene.condition(ConditionType.PROMOTED)
        assert (promoted.status, promoted.reason) == ("False", Reason.GATES_FAILED)
        assert "0.41" in promoted.message
        assert scene.holds(ConditionType.COMPLETE)

    def test_results_of_a_pod_that_is_gone(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.run_pods()
        scene.end("-sft-")
        scene.cluster.pods = {name: pod for name, pod in scene.cluster.pods.items() if "-sft-" not in name}
        scene.reconcile()
        assert scene.stage("sft").phase is StagePhase.SUCCEEDED
        assert "could not be read" in (scene.stage("sft").message or "")

    def test_a_job_seen_complete_before_its_pod_is_waited_with(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.run_pods()
        scene.end("-sft-")
        rank_0 = scene.cluster.pods[scene.job_of("-sft-") + "-0-x"]
        end, rank_0["status"] = rank_0["status"], {"phase": "Running", "conditions": []}
        assert scene.reconcile().apply == ()
        assert scene.stage("sft").phase is StagePhase.STARTING
        rank_0["status"] = end
        scene.reconcile()
        assert scene.stage("sft").phase is StagePhase.SUCCEEDED

    def test_the_success_of_all_pods_is_enough(self) -> None:
        scene = Scene(one_stage_spec())
        scene.until_first_gang()
        scene.run_pods()
        gang = scene.job_of("-sft-")
        scene.cluster.end_pod(f"{gang}-0-x", 0, Summary(exit_code=0).to_termination_message())
        scene.reconcile()
        assert scene.stage("sft").phase is StagePhase.RUNNING, "one of two is not all"
        scene.cluster.end_pod(f"{gang}-1-x", 0)
        assert scene.reconcile().delete == ()
        assert scene.holds(ConditionType.COMPLETE)

    def test_a_job_that_was_given_up_is_not_complete(self) -> None:
        scene = Scene(one_stage_spec())
        scene.until_first_gang()
        scene.run_pods()
        conditions = scene.cluster.jobs[scene.job_of("-sft-")]["status"]["conditions"]
        conditions.append({"type": "FailureTarget", "status": "True", "message": "a Pod was deleted"})
        for index in (0, 1):
            scene.cluster.end_pod(f"{scene.job_of('-sft-')}-{index}-x", 0)
        scene.reconcile()
        assert (scene.stage("sft").failures or [])[0].reason == Reason.POD_LOST

    def test_status_at_rest_does_not_change(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.run_pods()
        scene.reconcile()
        again = scene.decide()
        assert again.status == scene.status
        assert (again.apply, again.delete, again.events, again.urgent) == ((), (), (), False)


class TestRefusal:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda spec: spec["stages"][1].update(model={"fromStage": "sfd"}), "did you mean 'sft'?"),
            (lambda spec: spec["stages"][0].update(dpo={}), "spec.stages[0]: "),
            (lambda spec: spec.pop("workspace"), "spec.workspace: Field required"),
            (
                lambda spec: spec["runtime"].update(podTemplate={"nodeSelector": {"k" * 5000: "v"}}),
                "spec.runtime.podTemplate.nodeSelector: key 'kkk",
            ),
            (
                lambda spec: spec["runtime"].update(resources={"limits": {"k" * 300: 1}}),
                "spec.runtime.resources.limits: key 'kkk",
            ),
        ],
    )
    def test_bad_specification(self, change: Any, words: str) -> None:
        spec = pipeline_spec()
        change(spec)
        scene = Scene(spec)
        decided = scene.reconcile()
        accepted = scene.condition(ConditionType.ACCEPTED)
        assert (accepted.status, accepted.reason) == ("False", Reason.INVALID_SPEC)
        assert words in accepted.message
        assert scene.holds(ConditionType.STALLED)
        assert scene.holds(ConditionType.FAILED)
        assert decided.apply == ()
        assert scene.status.observed_generation == 1
        assert scene.decide().status == scene.status

    def test_name_too_long_for_a_label(self) -> None:
        job = alignment_job(name="a" * 64)
        status = plan(job, Observed(), SETTINGS, EPOCH).status
        assert status is not None
        assert "metadata.name" in (status.conditions or [])[0].message

    def test_a_job_once_accepted_is_not_judged_again(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.cluster.job["spec"]["stages"][0]["surprise"] = 1
        decided = scene.reconcile()
        assert decided.delete == ()
        assert scene.status.phase is JobPhase.RUNNING
        assert "surprise" in scene.condition(ConditionType.STALLED).message

    def test_a_job_being_deleted_is_left_alone(self) -> None:
        assert plan(alignment_job(deletionTimestamp="2026-11-20T12:00:00Z"), Observed(), SETTINGS, EPOCH) == Plan()


class TestPrepareFailure:
    def test_bad_rows_end_the_job_and_name_the_stage(self) -> None:
        scene = Scene()
        scene.reconcile()
        scene.run_pods()
        problem = Problem(field="spec.stages[2].dataset", message="row 7: chosen is empty")
        scene.end("-prepare-", 65, Summary(exit_code=65, message="bad data", problems=[problem]))
        scene.reconcile()
        assert scene.status.phase is JobPhase.FAILED
        assert scene.stage("dpo").phase is StagePhase.FAILED
        assert scene.stage("sft").phase is StagePhase.SKIPPED
        failed = scene.condition(ConditionType.FAILED)
        assert failed.reason == Reason.DATA_ERROR
        assert "row 7" in failed.message
        assert all("-prepare-" in name for name in scene.cluster.created)

    def test_an_unreachable_hub_is_tried_again_within_the_budget(self) -> None:
        scene = Scene(pipeline_spec(runPolicy={"retries": {"infrastructure": 2}}))
        for _ in range(3):
            while not scene.reconcile().apply:
                scene.cluster.pass_time(1)
            scene.run_pods()
            scene.end("-prepare-", 69)
            scene.reconcile()
        assert scene.status.phase is JobPhase.FAILED
        assert scene.condition(ConditionType.FAILED).reason == Reason.RETRIES_EXHAUSTED
        assert len(scene.cluster.created) == 3
        assert scene.status.prepare is not None
        assert len(scene.status.prepare.failures or []) == 3


def test_transition_times_change_with_the_status_only() -> None:
    scene = Scene()
    scene.reconcile()
    scene.cluster.pass_time(50)
    scene.run_pods()
    scene.reconcile()
    reconciling = scene.condition(ConditionType.RECONCILING)
    assert reconciling.last_transition_time == EPOCH
    assert reconciling.reason == Reason.PREPARING


def test_times_are_whole_seconds() -> None:
    scene = Scene()
    scene.cluster.now += timedelta(microseconds=654_321)
    scene.until_first_gang()
    assert ".654" not in json.dumps(scene.cluster.job["status"])
    assert scene.condition(ConditionType.ACCEPTED).last_transition_time == EPOCH


def test_messages_are_bounded() -> None:
    scene = Scene()
    scene.until_first_gang()
    scene.run_pods()
    message = "x" * 10_000
    for name in scene.cluster.pods:
        if "-sft-" in name:
            scene.cluster.end_pod(name, 1, message)
    scene.cluster.sync_jobs()
    scene.reconcile()
    assert scene.status.phase is JobPhase.FAILED
    assert all(len(condition.message) <= 4096 for condition in scene.status.conditions or [])
    assert bounded("\x1b[31mred\x1b[0m\r\n\tand\xa0\x00plain") == "red\n\tand\xa0plain", "colours are not for a status"
    text = bounded("first" + "x" * 10_000 + "last", 1024)
    assert len(text) == 1024
    assert text.startswith("first")
    assert text.endswith("last")
