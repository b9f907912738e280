"""Promotion, models of other jobs, and reports, against a real API server."""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from alignment_api import labels
from alignment_api.contract import PROGRESS_PORT, Summary

from .process import OperatorProcess, wait_until
from .team import Manifest, Team, alignment_job, sft_stage

GATE = {"metric": "winRate", "passed": True, "value": 0.7, "samples": 40}
RESULT = {
    "candidate": "candidate",
    "model": {"path": "models/best", "digest": "sha256:1"},
    "locations": ["models/best"],
}


def release(name: str, *, to: list[Manifest] | None = None, **spec: Any) -> Manifest:
    """A job that trains, evaluates and (with ``to``) promotes."""
    check = {
        "name": "check",
        "dataset": {"heldOutFromStage": "sft"},
        "evaluate": {
            "candidate": {"fromStage": "sft"},
            "baseline": {"volume": {"path": "models/tiny"}},
            "judges": [{"name": "form", "heuristic": {}}],
            "gates": [{"metric": "winRate", "atLeast": 0.55}],
        },
    }
    first = sft_stage("sft")
    first["dataset"]["evalFraction"] = 0.5
    promotion = {} if to is None else {"promotion": {"to": to}}
    return alignment_job(name, stages=[first, check], runtime={"nodes": 1}, **promotion, **spec)


def summary(**fields: Any) -> Summary:
    return Summary.model_validate({"exitCode": 0, **fields})


def finish(team: Team, job: Manifest, role: str, ending: Summary | None = None) -> None:
    wait_until(f"there is a Pod to {role}", lambda: team.finish_pods(job, role, ending))


def finish_stages(team: Team, job: Manifest, gate: Manifest) -> None:
    """Bring a job to its verdict."""
    finish(team, job, labels.ROLE_PREPARE)
    finish_gangs(team, job, gate)


def finish_gangs(team: Team, job: Manifest, gate: Manifest) -> None:
    """Bring a prepared job to its verdict."""
    name = job["metadata"]["name"]
    model = {"path": f"jobs/{name}/sft/model", "digest": "sha256:1"}
    finish(team, job, labels.ROLE_TRAIN, summary(model=model))
    wait_until("the stage is over", lambda: team.status(name)["stages"][0]["phase"] == "Succeeded")
    finish(team, job, labels.ROLE_TRAIN, summary(gates=[gate]))


def condition(team: Team, name: str, kind: str) -> tuple[str, str]:
    found = team.condition(name, kind)
    return found.get("status", ""), found.get("reason", "")


def said(team: Team, name: str) -> str:
    """Why the job is not ready."""
    return str(team.condition(name, "Ready").get("message"))


def jobs_of_role(team: Team, job: Manifest, role: str) -> list[Manifest]:
    return [one for one in team.find("Job", job) if one["metadata"]["labels"][labels.ROLE] == role]


def kept_reports(team: Team, job: Manifest) -> list[Manifest]:
    return [one for one in team.find("ConfigMap", job) if "report.html.gz" in one.get("binaryData", {})]


class _Pod(BaseHTTPRequestHandler):
    """Answers as rank 0 with a new report does."""

    def do_GET(self) -> None:
        progress = {"stage": "sft", "attempt": 1, "phase": "Finished", "step": 4, "totalSteps": 4, "report": "d1"}
        progress["updatedAt"] = "2026-01-01T00:00:00Z"
        body = {
            "/progress": json.dumps(progress).encode(),
            "/report": gzip.compress(b"<!doctype html><title>the report</title>"),
            "/report.json": gzip.compress(b'{"job": "five"}'),
        }[self.path]
        self.send_response(200)
        if self.path != "/progress":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def rank_0() -> Iterator[str]:
    """Address of a server that stands for a Pod's."""
    address = "127.82.1.9"
    server = ThreadingHTTPServer((address, PROGRESS_PORT), _Pod)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield address
    server.shutdown()
    server.server_close()


def test_with_reports_turned_off_none_is_fetched_or_served(
    operator_kubeconfig: Path, team: Team, rank_0: str, tmp_path: Path
) -> None:
    """The first of the tests here, as no other operator may run beside this one; nor beside the next one's."""
    settings = {"STATUS_INTERVAL_SECONDS": "1", "REPORTS": "off"}
    operator = OperatorProcess(operator_kubeconfig, tmp_path / "log.jsonl", settings).start()
    try:
        team.create_claim()
        job = team.create(release("six"))
        finish(team, job, labels.ROLE_PREPARE)
        wait_until("the gang runs", lambda: team.run_pods(job, labels.ROLE_TRAIN, rank_0))
        wait_until("it is asked", lambda: (team.status("six")["stages"][0].get("progress") or {}).get("step") == 4)
        with pytest.raises(urllib.error.HTTPError) as missing:
            operator.get(f"reports/{team.namespace}/six")
        assert missing.value.code == 404
        assert kept_reports(team, job) == []
    finally:
        operator.stop()


def test_killed_again_and_again_it_promotes_once(operator_kubeconfig: Path, team: Team, tmp_path: Path) -> None:
    """Two rounds are carried to their end by an operator that is killed at random instants."""
    operator = OperatorProcess(operator_kubeconfig, tmp_path / "log.jsonl", {"STATUS_INTERVAL_SECONDS": "1"})
    chance = random.Random(6)
    team.create_claim()
    place = [{"volume": {"path": "models/best"}}]
    rounds = [
        team.create(release("first", to=place)),
        team.create(release("second", to=place, model={"fromJob": {"name": "first"}})),
    ]
    # Whatever a Pod is, this is what it would say, and more.
    ending = summary(gates=[GATE], promotion=RESULT, model={"path": "jobs/x", "digest": "sha256:1"})
    uids: defaultdict[str, set[str]] = defaultdict(set)

    def act_and_look() -> bool:
        for job in rounds:
            for one in team.find("Job", job):
                uids[one["metadata"]["name"]].add(one["metadata"]["uid"])
            for role in (labels.ROLE_PREPARE, labels.ROLE_TRAIN, labels.ROLE_PROMOTE):
                team.finish_pods(job, role, ending)
        return all(condition(team, name, "Complete")[0] == "True" for name in ("first", "second"))

    deadline, kills = time.monotonic() + 90, 0
    while not act_and_look():
        assert time.monotonic() < deadline, [team.status(name) for name in ("first", "second")]
        operator.start()
        until = time.monotonic() + chance.uniform(0.02, 0.5) if kills < 6 else deadline
        while time.monotonic() < until and not act_and_look():
            pass
        operator.kill()
        kills += 1
    assert kills >= 3
    assert len(uids) == 8, "of each round Prepare, two gangs and a promotion"
    assert all(len(seen) == 1 for seen in uids.values()), "no Job was created twice"
    assert [condition(team, name, "Promoted") for name in ("first", "second")] == [("True", "Promoted")] * 2


def test_a_model_whose_gates_hold_is_promoted_and_the_next_round_goes_on_from_it(
    operator: OperatorProcess, team: Team
) -> None:
    """Both jobs are applied at once, the second one first."""
    team.create_claim()
    second = team.create(release("second", model={"fromJob": {"name": "first"}}))
    wait_until(
        "it waits for a job that is not there",
        lambda: "does not exist yet" in said(team, "second"),
    )
    assert condition(team, "second", "Ready")[1] == "WaitingForJob"
    first = team.create(release("first", to=[{"volume": {"path": "models/best"}}]))
    wait_until("it waits for the job", lambda: "until AlignmentJob first" in said(team, "second"))
    finish_stages(team, first, GATE)
    wait_until("it is being promoted", lambda: condition(team, "first", "Promoted") == ("Unknown", "Promoting"))
    assert condition(team, "first", "Complete") == ("", "")
    assert team.status("second")["phase"] == "Pending"
    assert jobs_of_role(team, second, labels.ROLE_PREPARE) == []
    finish(team, first, labels.ROLE_PROMOTE, summary(promotion=RESULT))
    wait_until("it is promoted", lambda: condition(team, "first", "Promoted") == ("True", "Promoted"))
    assert condition(team, "first", "Complete")[0] == "True"
    assert team.status("first")["promotion"]["result"]["locations"] == ["models/best"]

    woken = wait_until("the second round begins", lambda: jobs_of_role(team, second, labels.ROLE_PREPARE), 20)
    assert woken < 10, "the first one's end wakes it, not the look every half minute"
    [found] = team.status("second")["models"]
    assert (found["field"], found["job"], found["uid"]) == ("spec.model", "first", first["metadata"]["uid"])
    [config] = [one for one in team.find("ConfigMap", second) if "job.json" in one.get("data", {})]
    assert json.loads(config["data"]["job.json"])["spec"]["model"] == {"volume": {"path": "models/best"}}

    team.delete("AlignmentJob", "first")
    finish_stages(team, second, GATE)
    wait_until("the second round ends", lambda: condition(team, "second", "Complete")[0] == "True")
    assert condition(team, "second", "Promoted") == ("True", "GatesPassed")


def test_a_promotion_that_fails_is_tried_again_and_then_fails_the_job(operator: OperatorProcess, team: Team) -> None:
    team.create_claim()
    retries = {"retries": {"infrastructure": 1, "backoff": {"initialSeconds": 1, "maxSeconds": 1}}}
    job = team.create(release("release", to=[{"volume": {"path": "models/best"}}], runPolicy=retries))
    finish_stages(team, job, GATE)
    for attempt in (1, 2):
        wait_until(
            "an attempt begins",
            lambda attempt=attempt: team.status("release").get("promotion", {}).get("attempt") == attempt,  # type: ignore[misc]
        )
        wait_until("its Pod is there", lambda: team.run_pods(job, labels.ROLE_PROMOTE))
        assert team.fail_pods(job, labels.ROLE_PROMOTE, 69) == 1
    wait_until("the job failed", lambda: condition(team, "release", "Failed") == ("True", "RetriesExhausted"))
    assert condition(team, "release", "Promoted") == ("False", "PromotionFailed")
    assert len(jobs_of_role(team, job, labels.ROLE_PROMOTE)) == 2


def test_nothing_is_promoted_when_a_gate_fails(operator: OperatorProcess, team: Team) -> None:
    team.create_claim()
    job = team.create(release("release", to=[{"volume": {"path": "models/best"}}]))
    finish_stages(team, job, {**GATE, "passed": False, "value": 0.4})
    wait_until("the job is complete", lambda: condition(team, "release", "Complete")[0] == "True")
    assert condition(team, "release", "Promoted") == ("False", "GatesFailed")
    assert jobs_of_role(team, job, labels.ROLE_PROMOTE) == []
    assert team.status("release")["promotion"]["phase"] == "Skipped"


def test_a_reference_that_cannot_come_true_is_stalled_until_the_other_job_is_another(
    operator: OperatorProcess, team: Team
) -> None:
    team.create_claim()
    team.create(alignment_job("first"))
    second = team.create(alignment_job("second", model={"fromJob": {"name": "first"}}))
    wait_until("it is stalled", lambda: condition(team, "second", "Stalled") == ("True", "WaitingForJob"))
    assert "has no gates" in team.condition("second", "Stalled")["message"]
    team.delete("AlignmentJob", "first")
    wait_until("it waits", lambda: condition(team, "second", "Stalled")[0] == "False")
    first = team.create(release("first"))
    finish_stages(team, first, GATE)
    wait_until("it goes on", lambda: jobs_of_role(team, second, labels.ROLE_PREPARE))


def test_a_report_is_fetched_kept_and_served_also_when_its_pod_is_gone(
    operator: OperatorProcess, operator_kubeconfig: Path, team: Team, rank_0: str, tmp_path: Path
) -> None:
    team.create_claim()
    job = team.create(release("five"))
    where = f"reports/{team.namespace}/five"
    with pytest.raises(urllib.error.HTTPError) as missing:
        operator.get(where)
    assert missing.value.code == 404
    finish(team, job, labels.ROLE_PREPARE)
    wait_until("the gang runs", lambda: team.run_pods(job, labels.ROLE_TRAIN, rank_0))
    wait_until("the report's place is known", lambda: team.status("five").get("report"))
    assert team.status("five")["report"] == f"jobs/{team.namespace}/five-{job['metadata']['uid'][:8]}/report.html"
    wait_until("the report is kept", lambda: kept_reports(team, job))
    finish_gangs(team, job, GATE)
    wait_until("the job is over", lambda: condition(team, "five", "Complete")[0] == "True")

    other = OperatorProcess(operator_kubeconfig, tmp_path / "log.jsonl").start()
    try:
        for replica in (operator, other):
            assert replica.get(where) == "<!doctype html><title>the report</title>"
            assert replica.get(f"{where}.json") == '{"job": "five"}'
    finally:
        other.stop()
    [kept] = kept_reports(team, job)
    assert kept["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    team.delete("ConfigMap", kept["metadata"]["name"])
    with pytest.raises(urllib.error.HTTPError) as missing:
        operator.get(where)
    assert "It lies in the job's workspace" in missing.value.read().decode()
