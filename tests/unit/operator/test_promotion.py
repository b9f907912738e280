"""The promotion run: when it starts, what its Pod gets, and what becomes of the job."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alignment_api.conditions import ConditionType, Reason
from alignment_api.contract import REPORT_WAIT_VARIABLE, Progress, Summary
from alignment_api.v1alpha1 import JobPhase, PromotionStatus, StagePhase
from alignment_operator.planning.observed import GangProgress

from .manifests import EPOCH, SETTINGS, pipeline_spec
from .scene import Scene, kinds

GATE = {"metric": "winRate", "passed": True, "value": 0.61, "samples": 64}
RESULT = {
    "candidate": "candidate",
    "model": {"path": "models/assistant", "digest": "sha256:0"},
    "locations": ["models/assistant", "s3://models/assistant/0"],
}
REPORT = "jobs/team-a/assistant-0b7f2c1e/report.html"
PLACES = [
    {"volume": {"path": "models/assistant"}},
    {"s3": {"bucket": "models", "prefix": "assistant", "credentialsSecret": "store"}},
]


def promoting_spec(**fields: Any) -> dict[str, Any]:
    return pipeline_spec(promotion={"to": PLACES}, **fields)


def until_verdict(spec: dict[str, Any] | None = None, *, passed: bool = True) -> Scene:
    """A job whose stages have just succeeded."""
    scene = Scene(spec or promoting_spec())
    scene.until_first_gang()
    for stage in ("sft", "reward", "dpo"):
        scene.run_stage(f"-{stage}-")
    gates = [{**GATE, "passed": passed}]
    scene.run_stage("-check-", Summary.model_validate({"exitCode": 0, "gates": gates}))
    return scene


def promotion(scene: Scene) -> PromotionStatus:
    assert scene.status.promotion is not None
    return scene.status.promotion


def job_in(scene: Scene) -> dict[str, Any]:
    job: dict[str, Any] = scene.cluster.jobs[scene.job_of("-promote-")]
    return job


def test_it_starts_when_all_stages_succeeded_and_ends_the_job() -> None:
    scene = Scene(promoting_spec())
    scene.until_first_gang()
    assert promotion(scene).reason == Reason.WAITING_FOR_STAGE
    assert ConditionType.PROMOTED not in {condition.type for condition in scene.status.conditions or []}
    scene = until_verdict()
    assert promotion(scene).phase is StagePhase.STARTING
    promoted = scene.condition(ConditionType.PROMOTED)
    assert (promoted.status, promoted.reason) == ("Unknown", Reason.PROMOTING)
    assert not scene.holds(ConditionType.COMPLETE)
    assert scene.status.phase is JobPhase.RUNNING
    scene.run_pods()
    assert scene.reconcile().events == ()
    assert scene.condition(ConditionType.RECONCILING).reason == Reason.PROMOTING
    told = scene.run_stage("-promote-", Summary.model_validate({"exitCode": 0, "promotion": RESULT})).events
    assert promotion(scene).result is not None
    promoted = scene.condition(ConditionType.PROMOTED)
    assert (promoted.status, promoted.reason) == ("True", Reason.PROMOTED)
    assert "promoted to models/assistant, s3://models/assistant/0; stage check: winRate passed: 0.61" in (
        promoted.message
    )
    assert scene.holds(ConditionType.COMPLETE)
    assert [(event.reason, event.type) for event in told] == [
        (Reason.SUCCEEDED, "Normal"),
        (Reason.PROMOTED, "Normal"),
    ]
    last = scene.decide()
    assert (last.apply, last.delete, last.events, last.urgent) == ((), (), (), False)


def test_gates_that_fail_start_nothing_and_the_job_is_complete() -> None:
    scene = until_verdict(passed=False)
    assert promotion(scene).phase is StagePhase.SKIPPED
    assert not [name for name in scene.cluster.created if "-promote-" in name]
    promoted = scene.condition(ConditionType.PROMOTED)
    assert (promoted.status, promoted.reason) == ("False", Reason.GATES_FAILED)
    assert scene.holds(ConditionType.COMPLETE)


def test_without_a_place_to_go_the_verdict_is_all() -> None:
    scene = until_verdict(pipeline_spec())
    assert scene.status.promotion is None
    promoted = scene.condition(ConditionType.PROMOTED)
    assert (promoted.status, promoted.reason) == ("True", Reason.GATES_PASSED)
    assert scene.holds(ConditionType.COMPLETE)


def test_its_pod_alone_gets_the_secrets_of_the_places() -> None:
    spec = promoting_spec(
        prepare={
            "resources": {"limits": {"memory": "3Gi"}},
            "podTemplate": {"nodeSelector": {"pool": "cpu"}},
        }
    )
    scene = until_verdict(spec)
    for name, job in scene.cluster.jobs.items():
        assert ("'store'" in str(job)) is ("-promote-" in name), name
    job = job_in(scene)
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["args"] == ["promote", "--attempt", "1"]
    assert container["resources"]["limits"] == {"memory": "3Gi"}
    assert pod["nodeSelector"] == {"pool": "cpu"}
    assert {"name": REPORT_WAIT_VARIABLE, "value": "15"} in container["env"]
    prepare = next(job for name, job in scene.cluster.jobs.items() if "-prepare-" in name)
    assert pod["volumes"][:2] == prepare["spec"]["template"]["spec"]["volumes"][:2], "workspace and configuration"
    assert "alignment.dev/stage" not in job["metadata"]["labels"]


def test_pods_are_not_told_to_wait_where_nobody_fetches_reports() -> None:
    scene = Scene(promoting_spec())
    scene.settings = replace(SETTINGS, reports=False)
    scene.until_first_gang()
    assert REPORT_WAIT_VARIABLE not in str(scene.cluster.jobs)


def test_the_configuration_is_made_again_when_no_job_mounts_it() -> None:
    scene = Scene(promoting_spec())
    scene.until_first_gang()
    for stage in ("sft", "reward", "dpo"):
        scene.run_stage(f"-{stage}-")
    scene.run_pods()
    scene.end("-check-", 0, Summary.model_validate({"exitCode": 0, "gates": [GATE]}))
    for job in scene.cluster.jobs.values():
        job["spec"]["template"]["spec"]["volumes"] = []
    assert kinds(scene.reconcile()) == ["ConfigMap", "Job"]


@pytest.mark.parametrize(
    ("code", "reason", "attempts"),
    [(69, Reason.RETRIES_EXHAUSTED, 3), (78, Reason.CONFIGURATION_ERROR, 1)],
)
def test_failures_are_retried_as_prepares_are_and_then_fail_the_job(code: int, reason: Reason, attempts: int) -> None:
    scene = until_verdict(promoting_spec(runPolicy={"retries": {"infrastructure": 2}}))
    for attempt in range(1, attempts + 1):
        while not (promotion(scene).attempt == attempt and promotion(scene).phase is StagePhase.STARTING):
            scene.cluster.pass_time(1)
            scene.reconcile()
        scene.run_pods()
        scene.end("-promote-", code, Summary(exit_code=code, message="no"))
        scene.reconcile()
    assert scene.status.phase is JobPhase.FAILED
    assert len(promotion(scene).failures or []) == attempts
    assert scene.condition(ConditionType.FAILED).reason == reason
    promoted = scene.condition(ConditionType.PROMOTED)
    assert (promoted.status, promoted.reason) == ("False", Reason.PROMOTION_FAILED)
    assert "winRate passed" in promoted.message
    assert scene.stage("check").phase is StagePhase.SUCCEEDED
    assert not scene.holds(ConditionType.COMPLETE)


def test_while_it_is_tried_again_promoted_is_unknown() -> None:
    scene = until_verdict()
    scene.run_pods()
    scene.end("-promote-", 137)
    told = scene.reconcile().events
    assert [event.message.split(":")[0] for event in told] == ["the promotion, attempt 1"]
    assert scene.condition(ConditionType.PROMOTED).status == "Unknown"
    assert scene.status.phase is JobPhase.RUNNING
    scene.reconcile()
    assert promotion(scene).attempt == 2
    assert job_in(scene)["spec"]["template"]["spec"]["containers"][0]["args"][-1] == "2"


def test_suspension_stops_it_and_it_begins_anew() -> None:
    scene = until_verdict()
    scene.run_pods()
    scene.reconcile()
    scene.cluster.job["spec"]["suspend"] = True
    assert [target.name for target in scene.reconcile().delete] == [scene_job := "assistant-promote-2a374fd2-1"]
    assert promotion(scene).reason == Reason.SUSPENDED
    scene.cluster.stop_pods(143)
    scene.cluster.job["spec"]["suspend"] = False
    scene.reconcile()
    assert promotion(scene).attempt == 2
    assert promotion(scene).failures is None, "being suspended is no failure"
    assert scene_job not in scene.cluster.jobs


@pytest.mark.parametrize("policy", ["activeDeadlineSeconds", "preparingSeconds"])
def test_deadlines(policy: str) -> None:
    fields: dict[str, Any] = {"activeDeadlineSeconds": 100}
    if policy == "preparingSeconds":
        fields = {"progressDeadlines": {"preparingSeconds": 100}, "retries": {"stalled": 0}}
    scene = until_verdict(promoting_spec(runPolicy=fields))
    scene.run_pods()
    scene.reconcile()
    scene.cluster.pass_time(101)
    decided = scene.reconcile()
    assert scene.status.phase is JobPhase.FAILED
    assert [target.kind for target in decided.delete] == ["Job"]
    assert scene.condition(ConditionType.PROMOTED).reason == Reason.PROMOTION_FAILED
    assert policy in scene.condition(ConditionType.FAILED).message


def test_a_deadline_before_the_verdict_says_nothing_about_promotion() -> None:
    scene = Scene(promoting_spec(runPolicy={"activeDeadlineSeconds": 100}))
    scene.until_first_gang()
    scene.cluster.pass_time(101)
    scene.reconcile()
    assert promotion(scene).phase is StagePhase.SKIPPED
    assert ConditionType.PROMOTED not in {condition.type for condition in scene.status.conditions or []}


def test_after_the_end_its_pods_and_the_report_go_in_time() -> None:
    scene = until_verdict(promoting_spec(runPolicy={"ttlSecondsAfterFinished": 60, "ttlPolicy": "KeepRecord"}))
    scene.run_stage("-promote-", Summary.model_validate({"exitCode": 0, "promotion": RESULT}))
    scene.cluster.pass_time(61)
    assert scene.job_of("-promote-") in {target.name for target in scene.reconcile().delete}
    scene.cluster.pods.clear()
    gone = [target.name for target in scene.reconcile().clear if target.kind == "ConfigMap"]
    assert any(name.startswith("assistant-report-") for name in gone)
    assert scene.status.expiration_time is not None


def test_a_result_that_nobody_could_read_is_no_failure() -> None:
    scene = until_verdict()
    scene.run_pods()
    scene.end("-promote-", 0)
    scene.reconcile()
    assert scene.condition(ConditionType.PROMOTED).status == "True"
    assert "could not be read" in (promotion(scene).message or "")


def test_candidates_reach_the_status_of_their_stage() -> None:
    scene = Scene(promoting_spec())
    scene.until_first_gang()
    for stage in ("sft", "reward", "dpo"):
        scene.run_stage(f"-{stage}-")
    found = [{"name": "candidate", "passedGates": 1, "value": 0.61, "chosen": True}]
    scene.run_stage("-check-", Summary.model_validate({"exitCode": 0, "gates": [GATE], "candidates": found}))
    candidates = scene.stage("check").candidates or []
    assert [(one.name, one.passed_gates, one.chosen) for one in candidates] == [("candidate", 1, True)]


class TestReportPath:
    def test_it_is_known_once_a_pod_speaks_of_one(self) -> None:
        scene = Scene(promoting_spec())
        scene.until_first_gang()
        scene.run_pods()
        scene.reconcile()
        assert scene.status.report is None
        said = Progress.model_validate(
            {"stage": "sft", "attempt": 1, "phase": "Finished", "report": "d1", "updatedAt": EPOCH}
        )
        scene.extra["progress"] = {("sft", 1): GangProgress(said, EPOCH)}
        assert scene.reconcile().urgent
        assert scene.status.report == REPORT
        scene.extra.clear()
        scene.cluster.now += timedelta(seconds=20)
        scene.reconcile()
        assert scene.status.report == REPORT

    @pytest.mark.parametrize("code", [0, 1])
    def test_or_left_a_word_of_it_and_what_it_says_of_the_place_does_not_matter(self, code: int) -> None:
        scene = Scene(promoting_spec())
        scene.until_first_gang()
        scene.run_pods()
        scene.end("-sft-", code, Summary(exit_code=code, report="../../etc/passwd"))
        scene.reconcile()
        assert scene.status.report == REPORT
