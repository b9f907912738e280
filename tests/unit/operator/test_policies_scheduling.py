"""What the policies decide about placing gangs, queues, and what is left of a job that has ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alignment_api.conditions import ConditionType, Reason
from alignment_api.contract import CheckpointMark, Summary
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import JobPhase, StagePhase
from alignment_operator.planning.actions import ObjectKey, Plan
from alignment_operator.planning.policies.time_to_live import is_gitops_managed

from .manifests import EPOCH, pipeline_spec, timestamp
from .scene import Scene, next_gang, one_stage_spec, started


class TestPlacement:
    def half_placed(self, **fields: Any) -> Scene:
        scene = Scene({**one_stage_spec(), **fields})
        scene.until_first_gang()
        scene.cluster.sync_jobs()
        gang = scene.job_of("-sft-")
        scene.cluster.run_pod(f"{gang}-0-x")
        self.unschedulable(scene, f"{gang}-1-x")
        return scene

    def unschedulable(self, scene: Scene, pod: str) -> None:
        del scene.cluster.pods[pod]["spec"]["nodeName"]
        why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
        scene.cluster.pods[pod]["status"]["conditions"] = [why]

    def test_half_a_gang_lets_go_of_what_it_holds(self) -> None:
        scene = self.half_placed(scheduling={"placementDeadlineSeconds": 60}, runPolicy={"retries": {"stalled": 0}})
        waiting = scene.reconcile()
        assert scene.stage("sft").reason == Reason.UNSCHEDULABLE
        assert waiting.wake_at == EPOCH + timedelta(seconds=60)
        scene.cluster.pass_time(60)
        gang = scene.job_of("-sft-")
        assert scene.reconcile().delete == (ObjectKey("Job", "team-a", gang),)
        failure = (scene.stage("sft").failures or [])[0]
        assert failure.reason == Reason.NOT_PLACED
        assert "1 of 2" in failure.message
        failed_at = scene.cluster.now
        scene.cluster.stop_pods(75)
        assert "--nodes" not in next_gang(scene)
        assert timedelta(seconds=2) < scene.cluster.now - failed_at < timedelta(seconds=8)
        assert scene.status.failures is None, "it is nobody's fault"

    def test_a_gang_without_any_node_waits(self) -> None:
        scene = self.half_placed(scheduling={"placementDeadlineSeconds": 60})
        self.unschedulable(scene, scene.job_of("-sft-") + "-0-x")
        scene.cluster.pass_time(6000)
        decided = scene.reconcile()
        assert (decided.delete, decided.wake_at) == ((), None)

    def test_waiting_without_any_node_does_not_count(self) -> None:
        scene = self.half_placed(scheduling={"placementDeadlineSeconds": 60})
        scene.cluster.pass_time(6000)
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp(scene.cluster.now)}
        scene.cluster.pods[scene.job_of("-sft-") + "-0-x"]["status"]["conditions"] = [scheduled]
        decided = scene.reconcile()
        assert (decided.delete, decided.wake_at) == ((), scene.cluster.now + timedelta(seconds=60))

    def test_an_elastic_gang_goes_on_with_what_there_is_and_grows_back(self) -> None:
        spec = one_stage_spec()
        spec["runtime"] = {"nodes": 2, "minNodes": 1}
        scene = self.half_placed(**spec)
        scene.cluster.pass_time(600)
        scene.reconcile()
        assert scene.stage("sft").nodes == 1
        arguments = next_gang(scene)
        assert arguments[-2:] == ["--nodes", "1"]
        assert "--rendezvous-host" not in arguments
        assert scene.cluster.jobs[scene.job_of("-sft-")]["spec"]["completions"] == 1
        scene.run_pods()
        scene.reconcile()
        assert scene.stage("sft").phase is StagePhase.RUNNING
        scene.end("-sft-", 137)
        assert "--nodes" not in next_gang(scene)
        assert scene.stage("sft").nodes is None


class TestQueue:
    def queued(self) -> Scene:
        scene = Scene({**one_stage_spec(), "scheduling": {"queueName": "team-a", "workloadPriorityClass": "high"}})
        scene.until_first_gang()
        scene.cluster.sync_jobs()
        return scene

    def test_a_gang_waits_with_the_queues_words(self) -> None:
        scene = self.queued()
        gang = scene.job_of("-sft-")
        metadata = scene.cluster.jobs[gang]["metadata"]
        assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
        assert metadata["labels"]["kueue.x-k8s.io/priority-class"] == "high"
        scene.extra["queue_messages"] = {gang: "insufficient quota for nvidia.com/gpu"}
        scene.reconcile()
        assert scene.stage("sft").phase is StagePhase.QUEUED
        assert "insufficient quota" in scene.condition(ConditionType.RECONCILING).message
        assert scene.condition(ConditionType.RECONCILING).reason == Reason.QUEUED

    def test_it_runs_is_preempted_and_comes_back_as_a_new_attempt(self) -> None:
        scene = self.queued()
        gang = scene.job_of("-sft-")
        scene.cluster.admit(gang)
        scene.run_pods()
        scene.reconcile()
        assert scene.stage("sft").phase is StagePhase.RUNNING
        scene.cluster.take_back(gang)
        assert scene.reconcile().delete == (ObjectKey("Job", "team-a", gang),)
        assert (scene.stage("sft").failures or [])[0].reason == Reason.PREEMPTED
        mark = CheckpointMark(step=7, path="jobs/x/attempts/1/checkpoints/checkpoint-7", time=EPOCH)
        scene.end(gang, ExitCode.PREEMPTED, Summary(exit_code=ExitCode.PREEMPTED, checkpoint=mark))
        assert "--resume" in next_gang(scene), "what it wrote on its way out is known"
        assert scene.stage("sft").checkpoint is not None
        assert (scene.stage("sft").attempt, scene.stage("sft").phase) == (2, StagePhase.QUEUED)
        assert scene.status.failures is None

    def test_a_suspended_job_leaves_the_queue(self) -> None:
        scene = self.queued()
        scene.reconcile()
        scene.cluster.job["spec"]["suspend"] = True
        gang = scene.job_of("-sft-")
        assert scene.reconcile().delete == (ObjectKey("Job", "team-a", gang),)


class TestTimeToLive:
    def ended(self, **policy: Any) -> Scene:
        scene = started(runPolicy=policy)
        scene.run_stage("-sft-")
        assert scene.status.phase is JobPhase.SUCCEEDED
        return scene

    def settle(self, scene: Scene) -> Plan:
        """Reconcile until nothing more is deleted; Pods of deleted Jobs go."""
        while True:
            decided = scene.reconcile()
            if not decided.delete or "deletionTimestamp" in scene.cluster.job["metadata"]:
                return decided
            scene.cluster.stop_pods(143)

    def test_pods_and_jobs_go_first_then_the_object(self) -> None:
        scene = self.ended(ttlSecondsAfterFinished=100)
        assert scene.reconcile().wake_at == EPOCH + timedelta(seconds=100)
        scene.cluster.pass_time(100)
        first = scene.reconcile()
        assert {key.kind for key in first.delete} == {"Job"}
        self.settle(scene)
        assert not scene.cluster.jobs
        assert "deletionTimestamp" in scene.cluster.job["metadata"]

    def test_a_job_that_gitops_would_create_anew_stays_as_a_record(self) -> None:
        scene = self.ended(ttlSecondsAfterFinished=100)
        scene.cluster.job["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "team-a:job"}
        scene.cluster.pass_time(100)
        last = self.settle(scene)
        assert last.delete == ()
        assert "deletionTimestamp" not in scene.cluster.job["metadata"]
        assert scene.status.expiration_time is not None
        assert scene.status.phase is JobPhase.SUCCEEDED
        assert not scene.cluster.jobs

    def test_the_user_has_the_last_word(self) -> None:
        scene = self.ended(ttlSecondsAfterFinished=0, ttlPolicy="KeepRecord")
        self.settle(scene)
        assert timestamp(scene.status.expiration_time or EPOCH) == timestamp(scene.cluster.now)

    def test_without_a_limit_everything_stays(self) -> None:
        scene = self.ended()
        assert scene.reconcile().wake_at is None
        assert scene.cluster.jobs

    def test_all_pods_go_at_the_end_if_asked_to(self) -> None:
        scene = self.ended(cleanPodPolicy="All")
        self.settle(scene)
        assert not scene.cluster.jobs

    @pytest.mark.parametrize(
        ("metadata", "managed"),
        [
            ({}, False),
            ({"labels": {"app.kubernetes.io/instance": "x"}}, False),
            ({"labels": {"argocd.argoproj.io/instance": "x"}}, True),
            ({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}, True),
            ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, True),
        ],
    )
    def test_who_manages_it(self, metadata: dict[str, Any], managed: bool) -> None:
        assert is_gitops_managed({"metadata": metadata}) is managed


def test_a_spec_with_every_policy_is_read() -> None:
    """The scene's manifests go through the API models, as those of the API server do."""
    scene = Scene(pipeline_spec(scheduling={"podGroup": {"volcano": {"queue": "q"}}}))
    scene.until_first_gang()
    gang = scene.cluster.jobs[scene.job_of("-sft-")]["spec"]["template"]
    assert gang["spec"]["schedulerName"] == "volcano"
    assert gang["metadata"]["annotations"]["scheduling.k8s.io/group-name"]
