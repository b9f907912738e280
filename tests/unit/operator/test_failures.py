"""How each end of a Pod is classified, and which Pod of a gang is the cause."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_api.conditions import Reason
from alignment_api.contract import Problem, Summary
from alignment_api.exit_codes import REASON_OF_EXIT_CODE, ExitCode
from alignment_operator.failures.attempt_failure import attempt_failure
from alignment_operator.failures.classes import CLASS_OF_REASON, Action
from alignment_operator.failures.pod_failure import pod_failure
from alignment_operator.failures.termination import summary_of

from .manifests import at, pod, timestamp


def ended(code: int, second: float = 0, **terminated: Any) -> dict[str, Any]:
    return {"exitCode": code, "finishedAt": timestamp(at(second)), **terminated}


def disrupted(reason: str) -> list[dict[str, Any]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "made room"}]


@pytest.mark.parametrize(
    ("failed", "reason", "words"),
    [
        (pod(phase="Failed", terminated=ended(65)), Reason.DATA_ERROR, "log"),
        (pod(phase="Failed", terminated=ended(69)), Reason.UNAVAILABLE, "log"),
        (pod(phase="Failed", terminated=ended(70)), Reason.TRAINER_ERROR, "log"),
        (pod(phase="Failed", terminated=ended(71)), Reason.OUT_OF_MEMORY, "microBatchSize"),
        (pod(phase="Failed", terminated=ended(74)), Reason.STORAGE_ERROR, "workspace"),
        (pod(phase="Failed", terminated=ended(76)), Reason.COMMUNICATION_ERROR, "log"),
        (pod(phase="Failed", terminated=ended(78)), Reason.CONFIGURATION_ERROR, "log"),
        (pod(phase="Failed", terminated=ended(137)), Reason.PROCESS_KILLED, "SIGKILL"),
        (pod(phase="Failed", terminated=ended(139)), Reason.PROCESS_KILLED, "SIGSEGV"),
        (pod(phase="Failed", terminated=ended(137, reason="OOMKilled")), Reason.OUT_OF_MEMORY, "limits.memory"),
        (pod(phase="Failed", terminated=ended(137), deletion=at(60)), Reason.POD_LOST, "deleted"),
        (pod(phase="Failed", terminated=ended(143)), Reason.POD_LOST, "deleted"),
        (pod(phase="Failed", terminated=ended(1, message="boom")), Reason.TRAINER_ERROR, "boom"),
        (pod(phase="Failed", terminated=ended(128, reason="StartError")), Reason.TRAINER_ERROR, "StartError"),
        (pod(phase="Failed", terminated=ended(137, reason="ContainerStatusUnknown")), Reason.NODE_LOST, "kubelet"),
        (pod(phase="Failed", terminated=ended(255, reason="Unknown")), Reason.NODE_LOST, "node was probably restarted"),
        (pod(phase="Failed", reason="UnexpectedAdmissionError"), Reason.POD_REJECTED, "UnexpectedAdmissionError"),
        (pod(phase="Failed", terminated=ended(137), reason="Evicted"), Reason.STORAGE_ERROR, "local storage"),
        (pod(conditions=disrupted("PreemptionByScheduler")), Reason.PREEMPTED, "made room"),
        (pod(phase="Failed", conditions=disrupted("TerminationByKubelet")), Reason.PREEMPTED, "evicted"),
        (pod(conditions=disrupted("DeletionByTaintManager")), Reason.NODE_LOST, "with its node"),
    ],
)
def test_reason_and_message(failed: dict[str, Any], reason: Reason, words: str) -> None:
    failure = pod_failure(failed)
    assert failure is not None
    assert failure.reason is reason
    assert words in failure.message
    assert (failure.pod, failure.node) == ("pod-0", "node-1")


@pytest.mark.parametrize(
    "healthy", [pod(), pod(phase="Pending"), pod(phase="Succeeded", terminated=ended(0)), {"metadata": {"name": "new"}}]
)
def test_pods_that_did_not_fail(healthy: dict[str, Any]) -> None:
    assert pod_failure(healthy) is None


def test_every_failure_has_an_action() -> None:
    assert {reason for code, reason in REASON_OF_EXIT_CODE.items() if code is not ExitCode.OK} <= CLASS_OF_REASON.keys()
    assert CLASS_OF_REASON[Reason.DATA_ERROR].action is Action.FAIL
    assert CLASS_OF_REASON[Reason.PREEMPTED].action is Action.RESTART_FREE
    assert CLASS_OF_REASON[Reason.NODE_LOST].action is Action.RESTART_COUNTED


def test_problems_are_listed() -> None:
    problem = Problem(field="spec.stages[2].dataset", message="row 7: chosen is empty")
    message = Summary(exit_code=65, message="1 of 90 rows is bad", problems=[problem]).to_termination_message()
    failure = pod_failure(pod(phase="Failed", terminated=ended(65, message=message)))
    assert failure is not None
    assert failure.message == "1 of 90 rows is bad\nspec.stages[2].dataset: row 7: chosen is empty"
    assert failure.problems == (problem,)


def test_a_problem_that_is_the_whole_message_is_said_once() -> None:
    problem = Problem(field="spec.model.huggingFace", message="the hub cannot be reached")
    message = Summary(exit_code=69, message=problem.message, problems=[problem]).to_termination_message()
    failure = pod_failure(pod(phase="Failed", terminated=ended(69, message=message)))
    assert failure is not None
    assert failure.message == "spec.model.huggingFace: the hub cannot be reached"


@pytest.mark.parametrize(
    "message",
    [
        None,
        "",
        "killed",
        "[]",
        '{"exitCode": "x"}',
        '{"exitCode": ' + "9" * 30 + "}",
        '{"exitCode": 1e999}',
        '{"exitCode": NaN}',
        "[" * 4000,
        '{"exitCode": 0, "message": "' + "x" * 5000 + '"}',
    ],
)
def test_hostile_termination_messages_are_ignored(message: str | None) -> None:
    assert summary_of(pod(phase="Succeeded", terminated={"exitCode": 0, "message": message})) is None


def test_what_a_newer_trainer_adds_is_left_out() -> None:
    message = (
        '{"exitCode": 0, "surprise": 1, "model": {"path": "a/model", "digest": "sha256:0", "format": "safetensors"}}'
    )
    summary = summary_of(pod(phase="Succeeded", terminated={"exitCode": 0, "message": message}))
    assert summary is not None
    assert summary.model is not None
    assert summary.model.path == "a/model"


class TestCauseOfAGang:
    """The Pod that failed by itself is the cause, whichever is seen first."""

    killed = pod("rank-1", "Failed", terminated=ended(137, 5))
    lost_peer = pod("rank-0", "Failed", terminated=ended(76, 3))
    stopped = pod("rank-2", "Failed", terminated=ended(75, 1), deletion=at(100))

    def test_own_failure_before_victims(self) -> None:
        failure = attempt_failure(None, [self.lost_peer, self.stopped, self.killed], at(10))
        assert failure is not None
        assert (failure.reason, failure.pod) == (Reason.PROCESS_KILLED, "rank-1")

    def test_first_of_own_failures(self) -> None:
        earlier = pod("rank-3", "Failed", terminated=ended(71, 2))
        failure = attempt_failure(None, [self.killed, earlier], at(10))
        assert failure is not None
        assert failure.pod == "rank-3"

    def test_victims_alone_wait_for_the_others(self) -> None:
        assert attempt_failure(None, [self.lost_peer, pod("rank-1")], at(10)) is None

    def test_pod_on_a_lost_node_is_not_waited_for(self) -> None:
        silent = pod("rank-1", deletion=at(120))
        assert attempt_failure(None, [self.lost_peer, silent], at(149)) is None
        failure = attempt_failure(None, [self.lost_peer, silent], at(150))
        assert failure is not None
        assert failure.reason is Reason.COMMUNICATION_ERROR

    def test_a_job_that_failed_without_witness(self) -> None:
        job = {
            "metadata": {"name": "gang"},
            "status": {"conditions": [{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}]},
        }
        assert attempt_failure(job, [pod("rank-1")], at(0)) is None
        failure = attempt_failure(job, [], at(0))
        assert failure is not None
        assert failure.reason is Reason.POD_LOST
