"""What the plan decides, case by case: attempts that fail or get stuck."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alignment_api.conditions import ConditionType, Reason
from alignment_api.contract import Progress, Summary, TrainerPhase
from alignment_api.v1alpha1 import StagePhase
from alignment_operator.planning.actions import ObjectKey
from alignment_operator.planning.observed import GangProgress

from .manifests import EPOCH, pipeline_spec
from .scene import Scene, kinds


class TestRestart:
    def test_a_killed_process_restarts_the_gang_under_a_new_number(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.run_pods()
        scene.reconcile()
        scene.cluster.end_pod(scene.job_of("-sft-") + "-1-x", 137)
        scene.cluster.sync_jobs()
        recorded = scene.reconcile()
        assert recorded.apply == ()
        assert recorded.delete == (), "the failed Pod and its log stay"
        assert any(event.reason == Reason.PROCESS_KILLED for event in recorded.events)
        assert scene.stage("sft").phase is StagePhase.WAITING
        assert scene.reconcile().apply == (), "its peer is still stopping"
        scene.cluster.stop_pods(75)
        assert kinds(scene.reconcile()) == ["Service", "Job"]
        sft = scene.stage("sft")
        assert (sft.attempt, sft.phase) == (2, StagePhase.STARTING)
        assert (scene.status.restarts, scene.status.failures) == (1, {"infrastructure": 1})
        failure = (sft.failures or [])[0]
        assert (failure.attempt, failure.reason, failure.exit_code) == (1, Reason.PROCESS_KILLED, 137)

    def test_pauses_grow(self) -> None:
        scene = Scene(pipeline_spec(runPolicy={"retries": {"infrastructure": 20}}))
        scene.until_first_gang()
        pauses = []
        for _ in range(12):
            scene.run_pods()
            scene.end("-sft-", 137)
            scene.reconcile()
            begin = scene.cluster.now
            while not (decided := scene.reconcile()).apply:
                assert decided.wake_at is not None
                scene.cluster.now = decided.wake_at
            pauses.append((scene.cluster.now - begin).total_seconds())
        assert pauses == [0, 5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300]

    def test_preemption_is_free(self) -> None:
        scene = Scene(pipeline_spec(runPolicy={"retries": {"infrastructure": 0}}))
        scene.until_first_gang()
        scene.run_pods()
        scene.cluster.disrupt_pod(scene.job_of("-sft-") + "-0-x", "PreemptionByScheduler")
        scene.cluster.sync_jobs()
        scene.reconcile()
        scene.cluster.stop_pods(143)
        scene.reconcile()
        assert (scene.stage("sft").attempt, scene.status.failures) == (2, None)

    def test_budget_ends_the_job_and_stops_other_gangs(self) -> None:
        scene = Scene(pipeline_spec(runPolicy={"maxParallelStages": 2, "retries": {"infrastructure": 0}}))
        scene.until_first_gang()
        scene.run_stage("-sft-")
        scene.run_pods()
        scene.reconcile()
        other = scene.job_of("-reward-")
        scene.end("-dpo-", 137)
        decided = scene.reconcile()
        assert decided.delete == (ObjectKey("Job", "team-a", other),)
        assert scene.stage("dpo").reason == Reason.PROCESS_KILLED
        assert scene.stage("reward").phase is scene.stage("check").phase is StagePhase.SKIPPED
        assert "SIGKILL" in scene.condition(ConditionType.FAILED).message

    def test_a_lost_node_does_not_block_the_next_attempt(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.run_pods()
        scene.cluster.disrupt_pod(scene.job_of("-sft-") + "-1-x", "DeletionByTaintManager")
        scene.cluster.sync_jobs()
        scene.reconcile()
        scene.cluster.stop_pods(75)
        waiting = scene.reconcile()
        assert waiting.wake_at == EPOCH + timedelta(seconds=120 + 30)
        scene.cluster.now = waiting.wake_at
        assert kinds(scene.reconcile())[-1] == "Job"
        assert (scene.stage("sft").failures or [])[0].reason == Reason.NODE_LOST

    def test_a_pod_deleted_on_a_silent_node_wakes_the_operator(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.run_pods()
        scene.cluster.delete_pod(scene.job_of("-sft-") + "-1-x")
        scene.cluster.sync_jobs()
        waiting = scene.reconcile()
        assert waiting.wake_at == EPOCH + timedelta(seconds=120 + 30)
        scene.cluster.now = waiting.wake_at
        scene.reconcile()
        assert (scene.stage("sft").failures or [])[0].reason == Reason.POD_LOST

    def test_a_deleted_job_is_a_lost_attempt_but_a_new_one_is_waited_for(self) -> None:
        scene = Scene()
        scene.until_first_gang()
        scene.cluster.delete_job(scene.job_of("-sft-"))
        unsure = scene.reconcile()
        assert scene.stage("sft").phase is StagePhase.STARTING
        assert unsure.wake_at == EPOCH + timedelta(seconds=10)
        scene.cluster.now = unsure.wake_at
        scene.reconcile()
        scene.reconcile()
        assert scene.stage("sft").attempt == 2
        assert (scene.stage("sft").failures or [])[0].reason == Reason.POD_LOST

    def test_a_lost_status_write_does_not_start_a_second_gang(self) -> None:
        scene = Scene()
        scene.reconcile()
        scene.run_pods()
        scene.end("-prepare-")
        scene.cluster.carry_out(scene.decide(), steps=2)
        assert scene.stage("sft").attempt == 0
        assert scene.reconcile().apply == ()
        assert scene.stage("sft").attempt == 1


class TestStall:
    def report(self, scene: Scene, step: int, seconds: float) -> None:
        progress = Progress(
            stage="sft", attempt=1, phase=TrainerPhase.TRAINING, step=step, total_steps=50, updated_at=EPOCH
        )
        seen = GangProgress(progress, EPOCH + timedelta(seconds=seconds))
        scene.extra["progress"] = {("sft", 1): seen}

    def running(self) -> Scene:
        scene = Scene(pipeline_spec(runPolicy={"progressDeadlineSeconds": 60}))
        scene.extra["asking_since"] = EPOCH
        scene.until_first_gang()
        scene.run_pods()
        scene.reconcile()
        return scene

    def test_a_gang_that_gets_on_is_left_alone(self) -> None:
        scene = self.running()
        scene.cluster.pass_time(100)
        self.report(scene, 3, 90)
        decided = scene.reconcile()
        assert decided.wake_at == EPOCH + timedelta(seconds=150)
        assert scene.stage("sft").phase is StagePhase.RUNNING

    @pytest.mark.parametrize("reported", [True, False])
    def test_a_silent_gang_is_given_up(self, reported: bool) -> None:
        scene = self.running()
        if reported:
            self.report(scene, 3, 5)
        scene.cluster.pass_time(70)
        gang = scene.job_of("-sft-")
        assert scene.reconcile().delete == (ObjectKey("Job", "team-a", gang),)
        assert (scene.stage("sft").failures or [])[0].reason == Reason.NO_PROGRESS
        scene.cluster.stop_pods(75)
        scene.reconcile()
        assert scene.stage("sft").attempt == 2

    def test_where_it_hung_is_added_when_its_pods_end(self) -> None:
        scene = self.running()
        scene.cluster.pass_time(70)
        gang = scene.job_of("-sft-")
        scene.reconcile()
        for rank, words in enumerate(("rank 0 in all_reduce", "rank 1 in spin_forever")):
            summary = Summary(exit_code=75, message=f"told to stop; {words}").to_termination_message()
            scene.cluster.end_pod(f"{gang}-{rank}-x", 75, summary)
        scene.reconcile()
        scene.reconcile()
        message = (scene.stage("sft").failures or [])[0].message
        assert message.startswith("no progress for 60 s")
        assert message.count("rank 0 in all_reduce") == message.count("rank 1 in spin_forever") == 1

    def test_a_restarted_operator_takes_nothing_for_silent(self) -> None:
        scene = self.running()
        scene.cluster.pass_time(7200)
        scene.extra["asking_since"] = scene.cluster.now
        assert scene.reconcile().delete == ()

    def test_numbers_do_not_go_back_within_an_attempt(self) -> None:
        scene = self.running()
        self.report(scene, 9, 5)
        scene.reconcile()
        self.report(scene, 4, 6)
        scene.reconcile()
        progress = scene.stage("sft").progress
        assert progress is not None
        assert (progress.step, progress.percent) == (9, 18)
        assert scene.status.current is not None
        assert scene.status.current.step == "9/50"
