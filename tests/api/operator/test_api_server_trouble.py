"""An API server, and a network to it, in every kind of trouble: nothing is lost, done twice, or asked in a hot loop."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignment_api import labels
from tests.e2e.audit import created_jobs

from ..control_plane import ApiError, ControlPlane
from .faults import (
    Fault,
    FaultyProxy,
    answer_lost,
    any_of,
    for_watches,
    late,
    lost,
    refused,
    watch_error,
    watch_says,
    watch_silent,
)
from .process import SYSTEM_NAMESPACE, OperatorProcess, wait_until
from .team import Manifest, Team, alignment_job

MOST_REQUESTS_A_SECOND = 60
"""While something is wrong; a job takes about 12 requests from its creation to its end when nothing is."""

FAULT_SECONDS = 1.5
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "12"))

BUSY = refused(429, "TooManyRequests", Retry_After="1")
EXPIRED = watch_error(410, "Expired")
BROKEN = watch_error(500, "InternalError")
GARBAGE = watch_says(b'{"type": "ADDED", "object": {"metadata": {"na')
FAULTS: dict[str, Fault] = {
    "slow": late(1.0),
    "busy": BUSY,
    "failing": refused(500, "InternalError"),
    "unavailable": refused(503, "ServiceUnavailable"),
    "unauthorized": refused(401, "Unauthorized"),
    "forbidden-watches": for_watches(refused(403, "Forbidden")),
    "cut": lost,
    "losing-answers": answer_lost,
    "forgetful": EXPIRED,
    "gone": for_watches(refused(410, "Expired")),
    "broken-watches": BROKEN,
    "garbage-in-watches": GARBAGE,
    "ending-watches": watch_says(),
    "silent-watches": watch_silent(3),
    "everything": any_of(
        7,
        0.5,
        late(0.5),
        refused(409, "Conflict"),
        BUSY,
        refused(500, "InternalError"),
        lost,
        answer_lost,
        EXPIRED,
        BROKEN,
    ),
}


@pytest.fixture(scope="module")
def proxy(control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane).running() as running:
        yield running


@pytest.fixture(scope="module")
def through_proxy(control_plane: ControlPlane, operator_kubeconfig: Path, proxy: FaultyProxy) -> Path:
    token = json.loads(operator_kubeconfig.read_text())["users"][0]["user"]["token"]
    return control_plane.kubeconfig("through-proxy", token, through=proxy.url)


@pytest.fixture(scope="module")
def troubled(through_proxy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator that speaks through the proxy."""
    log = tmp_path_factory.mktemp("troubled") / "log.jsonl"
    settings = {"STATUS_INTERVAL_SECONDS": "1", "RELIST_SECONDS": "2"}
    operator = OperatorProcess(through_proxy, log, settings).start()
    yield operator
    operator.stop()


def advance(team: Team, jobs: list[Manifest]) -> bool:
    """Do what nodes and people do; returns whether all jobs are complete."""
    complete = 0
    for job in jobs:
        name = job["metadata"]["name"]
        if team.condition(name, "Complete").get("status") == "True":
            complete += 1
            continue
        team.patch("AlignmentJob", name, {"metadata": {"annotations": {"note": str(time.monotonic())}}})
        for role in (labels.ROLE_PREPARE, labels.ROLE_TRAIN):
            team.finish_pods(job, role)
    return complete == len(jobs)


def assert_nothing_twice(plane: ControlPlane, team: Team, jobs: list[Manifest]) -> None:
    created = created_jobs(plane.audit_log, team.namespace)
    assert len(created) == 2 * len(jobs), "one Prepare and one gang each"
    assert set(created.values()) == {1}
    for job in jobs:
        status = team.status(job["metadata"]["name"])
        assert [stage["attempt"] for stage in status["stages"]] == [1]
        assert not status.get("restarts")


def test_one_trouble_with_the_api_server_after_the_other(
    troubled: OperatorProcess, proxy: FaultyProxy, team: Team
) -> None:
    """Each lasts a moment, in which a job is created and those of before go on as far as they can."""
    team.create_claim()
    jobs = [team.create(alignment_job("before"))]
    wait_until("the job begins", lambda: team.find("Job"))
    try:
        for name, fault in FAULTS.items():
            begun = time.monotonic()
            proxy.fault = fault
            jobs.append(team.create(alignment_job(name)))
            while time.monotonic() < begun + FAULT_SECONDS:
                advance(team, jobs[-3:])
                time.sleep(0.2)
            rate, kinds = proxy.rate(begun)
            print(f"{name}: {rate:.1f} requests a second ({dict(kinds)})")
            assert rate < MOST_REQUESTS_A_SECOND
            assert troubled.running, troubled.log.read_text()[-4000:]
    finally:
        proxy.fault = None
    took = wait_until("all jobs are complete", lambda: advance(team, jobs))
    print(f"all well {took:.1f} s after the last of them")
    assert_nothing_twice(proxy.plane, team, jobs)


def test_an_api_server_that_is_killed_and_comes_back(
    troubled: OperatorProcess, proxy: FaultyProxy, team: Team, through_proxy: Path, tmp_path: Path
) -> None:
    """An operator without a Lease lives on; one that held it ends, is started again and waits."""
    plane = proxy.plane
    team.create_claim()
    elected = {
        "LEADER_ELECTION": "on",
        "POD_NAME": "one",
        "POD_NAMESPACE": SYSTEM_NAMESPACE,
        "WATCH_NAMESPACES": "none",
    }
    replica = OperatorProcess(through_proxy, tmp_path / "log.jsonl", elected).start()
    wait_until("the replica leads", replica.leads)
    jobs = [team.create(alignment_job(f"job-{number}")) for number in range(5)]
    wait_until("the jobs begin", lambda: len(team.find("Job")) == len(jobs))
    plane.api_server.kill()
    begun = time.monotonic()
    try:
        assert replica.wait() == 1
        ended = time.monotonic() - begun
        replica.launch()
        time.sleep(max(OUTAGE_SECONDS - ended, 0))
        rate, kinds = proxy.rate(begun)
        assert troubled.running, troubled.log.read_text()[-4000:]
    finally:
        plane.api_server.start()
        plane.wait_ready()

    def well() -> bool:
        try:
            return advance(team, jobs)
        except (ApiError, OSError):
            return False  # it serves the custom resource a moment later

    took = wait_until("all jobs are complete", well)
    print(
        f"{OUTAGE_SECONDS:g} s without an API server: {rate:.1f} requests a second ({dict(kinds)}), the replica ended "
        f"after {ended:.1f} s, all well {took:.1f} s after it"
    )
    assert rate < MOST_REQUESTS_A_SECOND
    wait_until("the replica leads again", lambda: replica.ready() and replica.leads())
    assert replica.stop() == 0
    assert_nothing_twice(plane, team, jobs)
