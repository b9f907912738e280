"""The quickstart as a user runs it: to Promoted=True; the one with swapped pairs to Promoted=False."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Final

import pytest

from .audit import created_jobs, writes
from .canary import workspace_of
from .freshness import Freshness
from .harness import Cluster, example
from .namespace import Namespace, Object, condition, holds, stage

pytestmark = pytest.mark.e2e

SECOND_ROUND: Final = "quickstart/second-round.yaml"
_OPERATOR = "system:serviceaccount:alignment-system:alignment-operator"


def _waits_for_the_first_round(job: Object) -> bool:
    found = condition(job, "Reconciling")
    return found is not None and found["reason"] == "WaitingForJob" and "support-assistant" in found["message"]


@pytest.fixture(scope="module")
def watched(seeded: Namespace) -> Iterator[tuple[Object, Freshness, str]]:
    """The finished job, what was seen of its progress, and what `kubectl wait` printed."""
    manifest = example("quickstart/alignmentjob.yaml")
    name = manifest["metadata"]["name"]
    seeded.apply(example(SECOND_ROUND))  # first, as a GitOps tool may
    seeded.wait_for("support-assistant-2", "waiting for the first round", _waits_for_the_first_round, 30)
    seeded.apply(manifest)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(
            seeded.run, "wait", f"aj/{name}", "--for=condition=Complete", "--timeout=900s", timeout=930
        )
        freshness = Freshness(seeded, name)
        job = freshness.watch_until_finished(timeout=900)
        yield job, freshness, waiting.result(timeout=30)


class TestQuickstart:
    """One run of the quickstart, watched while it goes and inspected when it is done."""

    @pytest.mark.timeout(960)
    def test_is_promoted(self, watched: tuple[Object, Freshness, str]) -> None:
        job, _, waited = watched
        assert holds(job, "Complete"), job["status"]
        assert holds(job, "Promoted"), condition(job, "Promoted")
        assert job["status"]["phase"] == "Succeeded"
        assert "condition met" in waited, "kubectl wait --for=condition=Complete"
        gates = stage(job, "check")["gates"]
        assert all(gate["passed"] for gate in gates)
        assert gates[0]["lower"] >= gates[0]["atLeast"]

    def test_a_step_is_visible_in_status_within_20_seconds(self, watched: tuple[Object, Freshness, str]) -> None:
        """But for those whose report was asked for in vain, on a machine that trains with all its processors."""
        _, freshness, _ = watched
        lags = sorted(freshness.lags())
        assert len(lags) >= 3, "too few steps were seen at the trainer to say anything"
        assert lags[len(lags) // 2] <= 20, lags
        assert lags[-1] <= 60, lags

    def test_status_holds_each_stage_to_its_end(self, watched: tuple[Object, Freshness, str]) -> None:
        job, _, _ = watched
        for entry in job["status"]["stages"]:
            assert entry["phase"] == "Succeeded", entry
            if entry["method"] != "evaluate":
                assert entry["progress"]["step"] == entry["progress"]["totalSteps"] > 0
                assert entry["model"]["digest"].startswith("sha256:")
                assert "loss" in entry["metrics"]
                assert entry["data"]["trainRows"] > 0
        assert stage(job, "dpo")["metrics"]["rewards/margins"] > 0
        assert stage(job, "check")["metrics"]["preferenceAccuracy"] > 0.8

    def test_ready_follows_kstatus(self, watched: tuple[Object, Freshness, str]) -> None:
        job, _, _ = watched
        assert holds(job, "Ready")
        assert not holds(job, "Reconciling")
        assert not holds(job, "Stalled")
        assert job["status"]["observedGeneration"] == job["metadata"]["generation"]

    def test_pods_hold_no_token_and_run_as_non_root(
        self, watched: tuple[Object, Freshness, str], seeded: Namespace
    ) -> None:
        job, _, _ = watched
        pods = seeded.items("pods", f"alignment.dev/job-name={job['metadata']['name']}")
        assert len(pods) == 2 + 2 * len(job["status"]["stages"])  # Prepare, the promotion, and two for each gang
        for pod in pods:
            assert pod["spec"]["automountServiceAccountToken"] is False
            assert not [
                volume
                for volume in pod["spec"].get("volumes", [])
                if "projected" in volume or volume["name"].startswith("kube-api-access")
            ]
            assert pod["spec"]["securityContext"]["runAsNonRoot"] is True

    def test_the_operator_writes_only_the_status_of_the_job(
        self, watched: tuple[Object, Freshness, str], cluster: Cluster, seeded: Namespace
    ) -> None:
        job, _, _ = watched
        mine = [write for write in writes(cluster.audit_log, seeded.name) if write.user == _OPERATOR]
        assert {write.resource for write in mine if write.name == job["metadata"]["name"]} <= {
            "alignmentjobs/status",
        }
        assert "finalizers" not in job["metadata"]
        assert set(created_jobs(cluster.audit_log, seeded.name).values()) == {1}

    def test_columns_and_events_tell_the_story(self, watched: tuple[Object, Freshness, str], seeded: Namespace) -> None:
        job, _, _ = watched
        columns = seeded.run("get", "aj", job["metadata"]["name"])
        assert columns.split()[:8] == ["NAME", "METHOD", "STAGE", "PHASE", "STEP", "LOSS", "ETA", "RESTARTS"]
        assert "Succeeded" in columns
        reasons = {
            event["reason"]
            for event in seeded.items("events")
            if event["involvedObject"]["name"] == job["metadata"]["name"]
        }
        assert {"Prepared", "Succeeded", "Promoted"} <= reasons, reasons

    def test_the_model_is_where_it_was_promoted_to(
        self, watched: tuple[Object, Freshness, str], seeded: Namespace
    ) -> None:
        job, _, _ = watched
        result = job["status"]["promotion"]["result"]
        assert result["candidate"] == "candidate"
        assert result["model"]["digest"] == stage(job, "dpo")["model"]["digest"]
        assert len(result["locations"]) == 1
        workspace = workspace_of(seeded, "alignment")
        promoted = workspace / "models/support-assistant"
        assert (promoted / "model.safetensors").stat().st_size > 0
        assert "support-assistant" in (promoted / "README.md").read_text()
        statement = json.loads((workspace / result["lineage"]).read_text())
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        digest = sha256((promoted / "model.safetensors").read_bytes()).hexdigest()
        assert digest in {subject["digest"]["sha256"] for subject in statement["subject"]}

    def test_the_report_is_served_by_the_operator(
        self, watched: tuple[Object, Freshness, str], cluster: Cluster, seeded: Namespace
    ) -> None:
        job, _, _ = watched
        name = job["metadata"]["name"]
        assert (workspace_of(seeded, "alignment") / job["status"]["report"]).is_file()
        page = cluster.operator_page(f"reports/{seeded.name}/{name}")
        assert page.startswith("<!doctype html>")
        for text in (name, "sft", "reward", "dpo", "check", "winRate"):
            assert text in page
        numbers = json.loads(cluster.operator_page(f"reports/{seeded.name}/{name}.json"))
        assert numbers

    def test_a_second_round_goes_on_with_what_was_promoted(
        self, watched: tuple[Object, Freshness, str], seeded: Namespace
    ) -> None:
        job, _, _ = watched
        second = seeded.wait_finished("support-assistant-2", 300)
        assert holds(second, "Complete"), second["status"]
        assert holds(second, "Promoted"), condition(second, "Promoted")
        models = {entry["field"]: entry for entry in second["status"]["models"]}
        assert models["spec.model"]["uid"] == job["metadata"]["uid"]
        assert models["spec.model"]["model"] == job["status"]["promotion"]["result"]["model"]
        judge = models["spec.stages[1].evaluate.judges[0].rewardModel"]
        assert judge["model"]["digest"] == stage(job, "reward")["model"]["digest"]


class TestSwapped:
    """Chosen and rejected swapped for DPO only, and an operator that is killed again and again."""

    @pytest.mark.timeout(960)
    def test_is_not_promoted_though_the_operator_dies_on_the_way(self, cluster: Cluster, seeded: Namespace) -> None:
        manifest = example("quickstart/swapped.yaml")
        name = manifest["metadata"]["name"]
        seeded.apply(manifest)
        kills = 0
        for moment in ("Preparing", "sft", "reward", "dpo"):
            if moment == "Preparing":
                seeded.wait_for(name, moment, lambda job: job.get("status", {}).get("phase") == "Preparing", 60)
            else:
                seeded.wait_for(
                    name,
                    f"{moment} running",
                    lambda job, at=moment: stage(job, at).get("phase") in ("Running", "Checkpointing", "Succeeded"),  # type: ignore[misc]
                    300,
                )
            cluster.kill_operator()
            kills += 1
        job = seeded.wait_finished(name, 900)
        assert kills == 4
        assert holds(job, "Complete"), job["status"]
        assert condition(job, "Promoted") is not None
        assert not holds(job, "Promoted")
        assert job["status"].get("restarts", 0) == 0
        assert all(entry["attempt"] == 1 for entry in job["status"]["stages"])
        for entry in job["status"]["stages"]:
            if entry["method"] != "evaluate":
                assert entry["progress"]["step"] == entry["progress"]["totalSteps"]
                assert entry["metrics"]
                assert entry["model"]["digest"]
        # No gang was ever made twice, whatever instant the operator died at.
        assert set(created_jobs(cluster.audit_log, seeded.name).values()) == {1}
