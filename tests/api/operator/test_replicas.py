"""Replicas of the operator: one writes, another goes on, and one that was stopped in between writes nothing more."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alignment_api import labels
from tests.e2e.audit import Write, created_jobs, writes

from ..control_plane import ControlPlane
from .process import SYSTEM_NAMESPACE, OperatorProcess, wait_until
from .team import Manifest, Team, alignment_job

START_REPLICA = Callable[[str], OperatorProcess]


@pytest.fixture
def start_replica(operator_kubeconfig: Path, tmp_path: Path) -> Iterator[START_REPLICA]:
    """Starts a replica of that name, which is ended with the test."""
    started = []

    def start(name: str) -> OperatorProcess:
        settings = {"LEADER_ELECTION": "on", "POD_NAME": name, "POD_NAMESPACE": SYSTEM_NAMESPACE}
        replica = OperatorProcess(operator_kubeconfig, tmp_path / f"{name}.jsonl", settings).start()
        started.append(replica)
        return replica

    yield start
    for replica in started:
        replica.signal(signal.SIGCONT)
        replica.stop()


def prepared(team: Team, jobs: list[Manifest]) -> bool:
    """Whether every job has its Prepare Job and a status."""
    owners = {job["metadata"]["labels"][labels.JOB_UID] for job in team.find("Job")}
    known = {job["metadata"]["name"] for job in team.find("AlignmentJob") if job.get("status")}
    return all(job["metadata"]["uid"] in owners and job["metadata"]["name"] in known for job in jobs)


def by_agent(found: list[Write], name: str) -> list[Write]:
    return [write for write in found if write.agent == f"alignment-operator ({name})"]


def test_jobs_can_be_applied_while_no_operator_runs(team: Team, start_replica: START_REPLICA) -> None:
    team.create_claim()
    jobs = [team.create(alignment_job("before"))]
    start_replica("late")
    wait_until("what was applied before is picked up", lambda: prepared(team, jobs))


def test_another_replica_goes_on_and_the_one_before_never_writes_again(
    control_plane: ControlPlane, team: Team, start_replica: START_REPLICA
) -> None:
    team.create_claim()
    jobs: list[Manifest] = []

    def more(count: int) -> None:
        for _ in range(count):
            jobs.append(team.create(alignment_job(f"job-{len(jobs)}")))

    first = start_replica("first")
    wait_until("the first replica leads", first.leads)
    second = start_replica("second")
    more(2)
    wait_until("the jobs begin", lambda: prepared(team, jobs))
    assert not second.leads()
    assert by_agent(writes(control_plane.audit_log, team.namespace, refused=True), "second") == []
    assert 'alignment_jobs{phase="' not in second.metrics(), "only the leader counts jobs"

    assert first.stop() == 0
    print(f"after a graceful end another leads after {wait_until('the second leads', second.leads):.1f} s")

    third = start_replica("third")
    second.kill()
    more(1)
    took = wait_until("a job that was applied after the leader was killed begins", lambda: prepared(team, jobs))
    print(f"after kill -9 of the leader a new job begins after {took:.1f} s")
    assert took <= 25

    start_replica("fourth")
    more(12)
    wait_until("the third is busy writing", lambda: any(prepared(team, [job]) for job in jobs[-12:]))
    third.signal(signal.SIGSTOP)
    more(3)
    wait_until("the fourth has taken over", lambda: prepared(team, jobs))
    time.sleep(1)
    third.signal(signal.SIGCONT)
    assert third.wait() == 1, "it ends itself"
    more(1)
    wait_until("the fourth goes on", lambda: prepared(team, jobs))

    recorded = writes(control_plane.audit_log, team.namespace, refused=True)
    before, after = by_agent(recorded, "third"), by_agent(recorded, "fourth")
    assert before
    assert after
    assert [write for write in before if write.time >= after[0].time] == [], "two wrote at a time"
    created = created_jobs(control_plane.audit_log, team.namespace)
    assert len(created) == len(jobs), "one Prepare each"
    assert set(created.values()) == {1}
