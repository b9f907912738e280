"""The operator against a real API server: what it creates, says, survives and leaves alone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alignment_api import labels
from alignment_api.contract import PROGRESS_PORT, Progress

from ..control_plane import ApiError, ControlPlane
from .process import OperatorProcess, wait_until
from .team import CLAIM, Manifest, Team, alignment_job, sft_stage


def prepare_job(team: Team, job: Manifest) -> Manifest | None:
    found = [one for one in team.find("Job", job) if one["metadata"]["labels"][labels.ROLE] == labels.ROLE_PREPARE]
    return found[0] if found else None


def test_a_new_job_gets_prepare_and_a_status_and_nothing_else_is_touched(operator: OperatorProcess, team: Team) -> None:
    team.create_claim()
    created = team.create(alignment_job("one"))
    wait_until("the Prepare Job exists", lambda: prepare_job(team, created))
    wait_until("the job is accepted", lambda: team.condition("one", "Accepted").get("status") == "True")

    job = team.get("AlignmentJob", "one")
    assert job["spec"] == created["spec"]
    for name in ("generation", "annotations", "labels", "finalizers"):
        assert job["metadata"].get(name) == created["metadata"].get(name)
    for entry in job["metadata"]["managedFields"]:
        if entry["manager"] == "alignment-operator":
            assert entry["subresource"] == "status"
            assert set(entry["fieldsV1"]) == {"f:status"}

    owner = {"kind": "AlignmentJob", "name": "one", "uid": created["metadata"]["uid"]}
    children = [*team.find("Job", job), *team.find("ConfigMap", job)]
    assert len(children) == 2
    for child in children:
        reference = child["metadata"]["ownerReferences"][0]
        assert {key: reference[key] for key in owner} == owner
        assert reference["controller"] is True
    assert {
        event["involvedObject"]["uid"] for event in team.find("Event") if event["source"]["component"] == labels.MANAGER
    } == {created["metadata"]["uid"]}


def test_what_is_missing_is_named_and_the_job_goes_on_when_it_is_there(operator: OperatorProcess, team: Team) -> None:
    def stages(*names: str) -> list[Manifest]:
        reading = [{"configMap": {"name": name, "key": "train.jsonl"}, "format": "promptCompletion"} for name in names]
        return [{"name": f"sft-{number}", "dataset": rows, "sft": {}} for number, rows in enumerate(reading)]

    team.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"test.jsonl": ""}})
    job = team.create(alignment_job("two", stages=stages("rows", "nowhere")))

    def said() -> str:
        return str(team.condition("two", "Ready").get("message"))

    wait_until("the job waits", lambda: "nowhere" in said())
    assert f"spec.workspace.persistentVolumeClaim.claimName: there is no PersistentVolumeClaim '{CLAIM}'" in said()
    assert "spec.stages[0].dataset.configMap.key: ConfigMap 'rows' has no key 'train.jsonl'" in said()
    assert "it has 'test.jsonl'" in said()
    assert "spec.stages[1].dataset.configMap.name: there is no ConfigMap 'nowhere'" in said()
    assert prepare_job(team, job) is None
    team.create_claim()
    team.patch("ConfigMap", "rows", {"data": {"train.jsonl": "{}"}})
    team.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nowhere"}, "data": {"train.jsonl": "{}"}}
    )
    wait_until("Prepare starts", lambda: prepare_job(team, job), 30)


@pytest.mark.parametrize(
    ("name", "runtime", "field"),
    [
        ("selector", {"podTemplate": {"nodeSelector": {"k" * 400: "v"}}}, "spec.runtime.podTemplate.nodeSelector"),
        ("annotation", {"podTemplate": {"annotations": {"k" * 9000: "v"}}}, "spec.runtime.podTemplate.annotations"),
        ("resource", {"resources": {"limits": {"k" * 300: 1}}}, "spec.runtime.resources.limits"),
    ],
)
def test_an_overlong_key_which_no_schema_can_refuse_is_not_accepted(
    operator: OperatorProcess, team: Team, name: str, runtime: Manifest, field: str
) -> None:
    job = team.create(alignment_job(name, runtime=runtime))
    wait_until("the job is judged", lambda: team.condition(name, "Accepted").get("status") == "False")
    assert f"{field}: key 'kkk" in team.condition(name, "Accepted")["message"]
    assert prepare_job(team, job) is None


def test_a_refused_object_is_shown_with_the_api_servers_words_and_disturbs_nobody(
    operator: OperatorProcess, team: Team
) -> None:
    team.create_claim()
    term = {"matchExpressions": [{"key": "gpu", "operator": "Sometimes"}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    team.create(alignment_job("bad", prepare={"podTemplate": {"affinity": affinity}}))
    good = team.create(alignment_job("good"))
    wait_until("the refusal is shown", lambda: team.condition("bad", "Stalled").get("status") == "True")
    stalled = team.condition("bad", "Stalled")
    assert stalled["reason"] == "ReconcileError"
    assert "Sometimes" in stalled["message"]
    wait_until("the good job goes on", lambda: prepare_job(team, good))
    version = team.get("AlignmentJob", "bad")["metadata"]["resourceVersion"]
    time.sleep(2)
    assert team.get("AlignmentJob", "bad")["metadata"]["resourceVersion"] == version, "the same error is written once"
    assert [event["reason"] for event in team.find("Event") if event["type"] == "Warning"] == ["ReconcileError"]


def test_an_exceeded_quota_is_shown_and_waited_for(operator: OperatorProcess, team: Team) -> None:
    team.create_claim()
    quota = {"hard": {"count/jobs.batch": "0"}}
    team.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": quota})
    wait_until("the quota is counted", lambda: team.get("ResourceQuota", "none").get("status", {}).get("hard"))
    job = team.create(alignment_job("three"))
    wait_until("the quota is shown", lambda: "exceeded quota" in team.condition("three", "Stalled").get("message", ""))
    team.delete("ResourceQuota", "none")
    wait_until("Prepare starts", lambda: prepare_job(team, job), 40)
    wait_until("nothing is stalled", lambda: team.condition("three", "Stalled").get("status") != "True")


def test_deleting_a_job_leaves_nothing(operator: OperatorProcess, team: Team) -> None:
    team.create_claim()
    job = team.create(alignment_job("four"))
    wait_until("the Prepare Pod exists", lambda: team.find("Pod", job))
    team.delete("AlignmentJob", "four")
    # The garbage collector looks for new kinds of owners every 30 s, and the definition may be younger than that.
    for kind in ("Job", "ConfigMap", "Service", "Pod"):
        wait_until(f"no {kind} is left", lambda kind=kind: not team.find(kind, job), seconds=60)  # type: ignore[misc]


class _Rank0(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        return


def test_a_step_taken_is_in_the_status_within_seconds(operator: OperatorProcess, team: Team) -> None:
    team.create_claim()
    job = team.create(alignment_job("five"))
    wait_until("Prepare is over", lambda: team.finish_pods(job, labels.ROLE_PREPARE))
    address = "127.82.1.7"
    server = ThreadingHTTPServer((address, PROGRESS_PORT), _Rank0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        wait_until("the gang runs", lambda: team.run_pods(job, labels.ROLE_TRAIN, address))
        for step in (3, 8):
            said = {"stage": "sft", "attempt": 1, "phase": "Training", "step": step, "totalSteps": 10}
            said |= {"metrics": {"loss": 1.5}, "updatedAt": "2026-01-01T00:00:00Z"}
            _Rank0.body = Progress.model_validate(said).model_dump_json(by_alias=True).encode()

            def shown(step: int = step) -> bool:
                return (team.status("five")["stages"][0].get("progress") or {}).get("step") == step

            assert wait_until("the step is shown", shown) < 8
        assert 'alignment_stage_metric{attempt="1",job="five"' in operator.metrics()
        _Rank0.body = b"<html>" + b"x" * 100_000
        team.delete("AlignmentJob", "five")
        wait_until("its numbers are gone", lambda: 'job="five"' not in operator.metrics())
    finally:
        server.shutdown()
        server.server_close()


def test_killed_again_and_again_it_starts_nothing_twice_and_loses_nothing(
    operator_kubeconfig: Path, team: Team, tmp_path: Path
) -> None:
    """Jobs are carried to their end by an operator that is killed at random instants."""
    operator = OperatorProcess(operator_kubeconfig, tmp_path / "log.jsonl", {"STATUS_INTERVAL_SECONDS": "1"})
    chance = random.Random(3)
    team.create_claim()
    stages = [sft_stage("first"), sft_stage("second"), sft_stage("third")]
    created = [team.create(alignment_job(f"job-{number}", stages=stages)) for number in range(3)]
    uids: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    deadline = time.monotonic() + 60

    def act_and_look() -> None:
        for job in created:
            for one in team.find("Job", job):
                uids[job["metadata"]["name"], one["metadata"]["name"]].add(one["metadata"]["uid"])
            for role in (labels.ROLE_PREPARE, labels.ROLE_TRAIN):
                team.finish_pods(job, role)

    kills = 0
    while not all(team.condition(job["metadata"]["name"], "Complete").get("status") == "True" for job in created):
        assert time.monotonic() < deadline, [team.status(job["metadata"]["name"]) for job in created]
        operator.start()
        until = time.monotonic() + chance.uniform(0.02, 0.5) if kills < 8 else deadline
        while time.monotonic() < until:
            act_and_look()
            if all(team.condition(job["metadata"]["name"], "Complete").get("status") == "True" for job in created):
                break
        operator.kill()
        kills += 1
    assert kills >= 3
    assert len(uids) == 4 * len(created), "one Prepare and one gang a stage"
    assert all(len(seen) == 1 for seen in uids.values()), "no Job was created twice"
    for job in created:
        status = team.status(job["metadata"]["name"])
        assert [stage["attempt"] for stage in status["stages"]] == [1, 1, 1]
        assert not status.get("restarts")


def test_its_rights_end_where_its_work_ends(control_plane: ControlPlane, operator_kubeconfig: Path, team: Team) -> None:
    token = json.loads(operator_kubeconfig.read_text())["users"][0]["user"]["token"]
    team.create(alignment_job("six"))
    job = f"/apis/alignment.dev/v1alpha1/namespaces/{team.namespace}/alignmentjobs/six"
    forbidden = [
        ("GET", f"/api/v1/namespaces/{team.namespace}/secrets", None),
        ("GET", "/api/v1/nodes", None),
        ("PATCH", job, {"spec": {"suspend": True}}),
        ("DELETE", f"/api/v1/namespaces/{team.namespace}/persistentvolumeclaims/{CLAIM}", None),
        ("POST", f"/api/v1/namespaces/{team.namespace}/pods", {"kind": "Pod", "apiVersion": "v1"}),
    ]
    for method, path, body in forbidden:
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        with pytest.raises(ApiError) as refused:
            control_plane.request(method, path, body, content_type=content_type, token=token)
        assert refused.value.status == 403, (method, path)


@pytest.mark.parametrize("after", [0, 0.005, 0.01, 0.02, 0.05, 0.5])
def test_it_stops_at_once_when_told(operator_kubeconfig: Path, tmp_path: Path, after: float) -> None:
    """At any instant since it is ready, also in the middle of the start of the watches."""
    operator = OperatorProcess(operator_kubeconfig, tmp_path / "log.jsonl").start()
    time.sleep(after)
    assert operator.stop() == 0, operator.log.read_text()[-4000:]  # which waits 10 s, a third of the grace period


def test_it_does_not_start_without_a_trainer_image() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRAINER_IMAGE"}
    ended = subprocess.run(
        [sys.executable, "-m", "alignment_operator"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 78
    assert "TRAINER_IMAGE" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_suspended_and_resumed_within_moments_nothing_is_taken_for_lost(operator: OperatorProcess, team: Team) -> None:
    """What the operator does to a suspended job meets the resumed one at every distance."""
    team.create_claim()
    job = team.create(alignment_job("moody"))
    wait_until("Prepare is there", lambda: prepare_job(team, job))
    chance = random.Random(5)
    for _ in range(20):
        for suspend in (True, False):
            team.patch("AlignmentJob", "moody", {"spec": {"suspend": suspend}})
            time.sleep(chance.uniform(0.0, 0.15))
    wait_until("it goes on", lambda: team.status("moody")["prepare"]["phase"] in ("Starting", "Preparing"))
    wait_until("Prepare is over", lambda: team.finish_pods(job, labels.ROLE_PREPARE))
    wait_until("the gang is there", lambda: team.status("moody")["stages"][0].get("attempt"))
    status = team.status("moody")
    assert "failures" not in status["prepare"], status["prepare"]
    assert not status.get("failures")
