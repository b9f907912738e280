"""What the policies decide, one at a time: budgets, pauses, micro batches, avoided nodes, phases of a stall."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alignment_api.conditions import ConditionType, Reason
from alignment_api.contract import Progress, TrainerPhase
from alignment_api.v1alpha1 import JobPhase
from alignment_api.v1alpha1.run_policy import RunPolicy
from alignment_operator.planning.policies.stall import patience_with

from .manifests import EPOCH
from .scene import Scene, next_gang, one_stage_spec, started


class TestBudgets:
    @pytest.mark.parametrize(
        ("code", "budget"),
        [(137, "infrastructure"), (76, "communication"), (81, "device"), (74, "storage"), (70, "trainerError")],
    )
    def test_each_class_has_its_own(self, code: int, budget: str) -> None:
        scene = started(runPolicy={"retries": {budget: 1}})
        scene.end("-sft-", code)
        next_gang(scene)
        assert scene.status.failures == {budget: 1}
        scene.run_pods()
        scene.end("-sft-", code)
        scene.reconcile()
        assert scene.stage("sft").reason == Reason.RETRIES_EXHAUSTED
        assert f"runPolicy.retries.{budget}" in scene.condition(ConditionType.FAILED).message

    @pytest.mark.parametrize("code", [65, 78, 79, 80, 82])
    def test_what_would_fail_again_is_not_tried_again(self, code: int) -> None:
        scene = started()
        scene.end("-sft-", code)
        scene.reconcile()
        assert scene.status.phase is JobPhase.FAILED

    def test_an_unforeseen_error_is_shown_as_what_it_is(self) -> None:
        scene = started()
        scene.end("-sft-", 70)
        scene.reconcile()
        assert scene.stage("sft").reason == Reason.TRAINER_ERROR


class TestPauses:
    def test_failures_far_apart_do_not_add_up(self) -> None:
        scene = started(runPolicy={"retries": {"infrastructure": 20}})
        for _ in range(4):
            scene.end("-sft-", 137)
            next_gang(scene)
            scene.run_pods()
            scene.reconcile()
            scene.cluster.pass_time(7200)
        scene.end("-sft-", 137)
        scene.reconcile()
        assert scene.reconcile().apply, "the first restart in a long time is immediate"

    def test_they_are_the_users(self) -> None:
        scene = started(runPolicy={"retries": {"backoff": {"initialSeconds": 60, "maxSeconds": 90}}})
        waits = []
        for _ in range(4):
            scene.end("-sft-", 137)
            scene.reconcile()
            failed_at = scene.cluster.now
            next_gang(scene)
            waits.append((scene.cluster.now - failed_at).total_seconds())
            scene.run_pods()
            scene.reconcile()
        assert waits == [0, 60, 90, 90]


class TestOutOfMemory:
    def spec(self, **training: int) -> dict[str, Any]:
        spec = one_stage_spec()
        spec["stages"][0]["training"] = {"globalBatchSize": 24, "microBatchSize": 6, **training}
        return spec

    def test_the_micro_batch_is_halved_and_shown(self) -> None:
        scene = started(**self.spec())
        scene.end("-sft-", 71)
        assert next_gang(scene)[-2:] == ["--micro-batch-size", "3"]
        assert scene.stage("sft").micro_batch_size == 3
        scene.run_pods()
        scene.end("-sft-", 71)
        assert next_gang(scene)[-2:] == ["--micro-batch-size", "1"]
        scene.run_pods()
        scene.end("-sft-", 71)
        scene.reconcile()
        assert scene.stage("sft").reason == Reason.RETRIES_EXHAUSTED

    def test_one_row_cannot_be_halved(self) -> None:
        scene = started(**self.spec(microBatchSize=1))
        scene.end("-sft-", 71)
        scene.reconcile()
        assert scene.stage("sft").reason == Reason.OUT_OF_MEMORY
        assert "more memory" in (scene.stage("sft").message or "")


class TestAvoidedNodes:
    def test_a_node_is_avoided_after_two_failures_of_its_own(self) -> None:
        scene = started()
        for _ in range(2):
            gang = scene.job_of("-sft-")
            scene.cluster.end_pod(f"{gang}-1-x", 81)
            scene.cluster.sync_jobs()
            scene.reconcile()
            scene.cluster.stop_pods(75)
            next_gang(scene)
            scene.run_pods()
        assert scene.status.avoided_nodes == ["node-1"]
        pod = scene.cluster.jobs[scene.job_of("-sft-")]["spec"]["template"]["spec"]
        required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert required["nodeSelectorTerms"] == [
            {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}]}
        ]

    def test_killed_processes_are_not_the_nodes_fault(self) -> None:
        scene = started()
        scene.end("-sft-", 137)
        next_gang(scene)
        assert scene.status.node_failures is None


def test_a_prepare_that_hangs_is_given_up() -> None:
    scene = Scene({**one_stage_spec(), "runPolicy": {"progressDeadlines": {"preparingSeconds": 600}}})
    scene.reconcile()
    scene.run_pods()
    assert scene.reconcile().wake_at == EPOCH + timedelta(seconds=600)
    scene.cluster.pass_time(600)
    assert len(scene.reconcile().delete) == 1
    assert scene.status.failures == {"stalled": 1}


@pytest.mark.parametrize(
    ("phase", "step", "field"),
    [
        (None, 0, "loadingSeconds"),
        (TrainerPhase.LOADING, 0, "loadingSeconds"),
        (TrainerPhase.TRAINING, 40, "firstStepSeconds"),
        (TrainerPhase.TRAINING, 41, "stepSeconds"),
        (TrainerPhase.CHECKPOINTING, 41, "savingSeconds"),
        (TrainerPhase.EXPORTING, 41, "savingSeconds"),
        (TrainerPhase.EVALUATING, 41, "evaluatingSeconds"),
    ],
)
def test_each_phase_has_its_patience(phase: TrainerPhase | None, step: int, field: str) -> None:
    names = ["loadingSeconds", "firstStepSeconds", "stepSeconds", "savingSeconds", "evaluatingSeconds"]
    deadlines = {name: 10 * (number + 1) for number, name in enumerate(names)}
    policy = RunPolicy.model_validate({"progressDeadlines": deadlines})
    said = None
    if phase is not None:
        said = Progress(stage="s", attempt=2, phase=phase, step=step, total_steps=50, updated_at=EPOCH)
    assert patience_with(policy, said, 40) == (deadlines[field], f"runPolicy.progressDeadlines.{field}")
    assert patience_with(RunPolicy(), said, 40) == (1800, "runPolicy.progressDeadlineSeconds")
