"""What the plan decides, case by case: jobs that are held, wait, or run out of time."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from alignment_api.conditions import ConditionType, Reason
from alignment_api.v1alpha1 import JobPhase, StagePhase
from alignment_operator.planning.actions import ObjectKey, Plan

from .manifests import EPOCH, pipeline_spec
from .scene import Scene, kinds


class TestSuspension:
    def test_suspended_and_resumed(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.run_pods()
        scene.reconcile()
        gang = scene.job_of("-sft-")
        scene.cluster.job["spec"]["suspend"] = True
        decided = scene.reconcile()
        assert decided.delete == (ObjectKey("Job", "team-a", gang),)
        assert scene.status.phase is JobPhase.SUSPENDED
        assert scene.holds(ConditionType.SUSPENDED)
        assert (scene.stage("sft").phase, scene.stage("sft").reason) == (StagePhase.WAITING, Reason.SUSPENDED)
        assert scene.reconcile().apply == ()
        scene.cluster.job["spec"]["suspend"] = False
        assert scene.reconcile().apply == (), "its Pods are still writing their checkpoint"
        scene.cluster.stop_pods(75)
        assert kinds(scene.reconcile())[-1] == "Job"
        assert (scene.stage("sft").attempt, scene.status.failures) == (2, None)
        assert not scene.holds(ConditionType.SUSPENDED)

    def test_a_crash_between_recording_and_stopping_it_makes_no_failure_of_a_suspension(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.run_pods()
        scene.reconcile()
        scene.cluster.job["spec"]["suspend"] = True
        scene.cluster.carry_out(scene.decide(), steps=1)  # the status is written, the Job not deleted
        scene.cluster.job["spec"]["suspend"] = False
        assert len(scene.reconcile().delete) == 1
        scene.cluster.stop_pods(75)
        scene.cluster.pass_time(60)
        scene.reconcile()
        assert scene.stage("sft").failures is None
        scene.reconcile()
        assert scene.stage("sft").attempt == 2
        assert not scene.status.restarts

    def test_an_attempt_that_the_status_does_not_know_is_recorded_before_it_is_stopped(self) -> None:
        scene = Scene()
        scene.reconcile()
        scene.run_pods()
        scene.end("-prepare-")
        scene.cluster.carry_out(scene.decide(), steps=2)
        scene.run_pods()
        scene.cluster.job["spec"]["suspend"] = True
        first = scene.reconcile()
        assert (first.delete, first.wake_at) == ((), scene.cluster.now)
        assert scene.stage("sft").attempt == 1
        assert len(scene.reconcile().delete) == 1

    def test_born_suspended(self) -> None:
        scene = Scene(pipeline_spec(suspend=True))
        assert scene.reconcile().apply == ()
        assert scene.status.phase is JobPhase.SUSPENDED


class TestLimits:
    def test_deadline_of_the_job(self) -> None:
        scene = Scene(pipeline_spec(runPolicy={"activeDeadlineSeconds": 60}))
        scene.until_first_gang()
        scene.run_pods()
        assert scene.reconcile().wake_at == EPOCH + timedelta(seconds=60)
        scene.cluster.pass_time(60)
        decided = scene.reconcile()
        assert len(decided.delete) == 1
        assert decided.wake_at is None
        assert scene.condition(ConditionType.FAILED).reason == Reason.DEADLINE_EXCEEDED
        assert scene.stage("sft").phase is StagePhase.FAILED
        assert scene.stage("dpo").phase is StagePhase.SKIPPED

    def test_an_end_is_final_but_a_late_gang_still_goes(self) -> None:
        scene = Scene(pipeline_spec(runPolicy={"activeDeadlineSeconds": 60}))
        scene.until_first_gang()
        scene.run_pods()
        scene.cluster.pass_time(60)
        scene.cluster.carry_out(Plan(status=scene.decide().status))
        before = json.dumps(scene.cluster.job["status"])
        assert len(scene.reconcile().delete) == 1
        assert json.dumps(scene.cluster.job["status"]) == before

    def test_an_ended_job_observes_new_generations(self) -> None:
        scene = Scene(pipeline_spec(runPolicy={"activeDeadlineSeconds": 1}))
        scene.reconcile()
        scene.cluster.pass_time(2)
        scene.reconcile()
        scene.cluster.job["metadata"]["generation"] = 7
        assert scene.reconcile().urgent
        assert scene.status.observed_generation == 7
        assert scene.status.phase is JobPhase.FAILED


class TestWaiting:
    def test_missing_objects_are_waited_for(self) -> None:
        scene = Scene()
        field = "spec.stages[1].dataset.configMap.name"
        scene.extra["missing"] = ((field, "ConfigMap pairs does not exist; create it"),)
        decided = scene.reconcile()
        assert decided.apply == ()
        assert decided.wake_at == EPOCH + timedelta(seconds=5)
        stalled = scene.condition(ConditionType.STALLED)
        assert (stalled.status, stalled.reason) == ("True", Reason.MISSING_CONFIG_MAP)
        assert field in stalled.message
        scene.extra.clear()
        assert kinds(scene.reconcile())[-1] == "Job"
        assert not scene.holds(ConditionType.STALLED)
        assert scene.holds(ConditionType.RECONCILING)

    @pytest.mark.parametrize(
        ("container", "conditions", "reason", "stalled"),
        [
            ({"reason": "ImagePullBackOff", "message": "not found"}, [], Reason.IMAGE_PULL_FAILED, True),
            (
                {"reason": "CreateContainerConfigError", "message": 'secret "hub" not found'},
                [],
                Reason.MISSING_SECRET,
                True,
            ),
            ({"reason": "CreateContainerError", "message": "no such device"}, [], Reason.POD_REJECTED, True),
            (
                None,
                [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}],
                Reason.UNSCHEDULABLE,
                False,
            ),
        ],
    )
    def test_pods_that_wait(
        self, container: dict[str, str] | None, conditions: list[dict[str, str]], reason: Reason, stalled: bool
    ) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.cluster.sync_jobs()
        status = scene.cluster.pods[scene.job_of("-sft-") + "-1-x"]["status"]
        status["conditions"] = conditions
        if container is not None:
            status["containerStatuses"] = [{"name": "trainer", "image": "i", "state": {"waiting": container}}]
        decided = scene.reconcile()
        assert (scene.stage("sft").phase, scene.stage("sft").reason) == (StagePhase.STARTING, reason)
        assert scene.holds(ConditionType.STALLED) is stalled
        assert [event.reason for event in decided.events] == [reason]

    def test_a_job_without_pods_points_to_its_events(self) -> None:
        scene = Scene()
        scene.reconcile()
        assert scene.reconcile().wake_at == EPOCH + timedelta(seconds=15)
        scene.cluster.pass_time(15)
        scene.reconcile()
        assert scene.stage("sft").reason == Reason.POD_REJECTED
        assert "kubectl describe job" in scene.condition(ConditionType.STALLED).message
