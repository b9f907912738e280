"""The checks find what is wrong: each is shown a good history, and one that it must not accept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from . import invariants
from .faults import When
from .history import Gang, Step
from .measures import measures_of, table
from .observer import Snapshot
from .record import Injection, Record
from .schedule import RunPlan, Strike

KILL = Strike("rank killed while training", "sft", When.TRAINING, 12, 0.0, 0, 0.5)
FORCE = replace(KILL, fault="Pod deleted by force")
QUIET = replace(KILL, fault="kubelet restarted")
SUSPEND = replace(KILL, fault="suspended and resumed")
LINE = {"attempt": 1, "reason": "ProcessKilled", "message": "a training process was killed by SIGKILL"}
CONDITIONS = {"Complete": "True", "Ready": "True", "Reconciling": "False", "Stalled": "False", "Failed": "False"}


def steps(first: int, last: int, begin: float) -> list[Step]:
    return [Step(begin + step, step, 1 / step) for step in range(first, last + 1)]


def stage(**changes: Any) -> dict[str, Any]:
    good = {
        "name": "sft",
        "phase": "Succeeded",
        "attempt": 2,
        "progress": {"attempt": 2, "step": 60, "totalSteps": 60},
        "failures": [LINE],
        "model": {"digest": "sha256:1"},
    }
    return good | changes


def job(conditions: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    entries = [{"type": type_, "status": status} for type_, status in (CONDITIONS | (conditions or {})).items()]
    return {"status": {"phase": "Succeeded", "restarts": 1, "conditions": entries, "stages": [stage(**changes)]}}


def gang(attempt: int, created: float, ended: float | None, times_created: int = 1) -> Gang:
    return Gang(f"gang-{attempt}", "sft", attempt, created, times_created, ended)


def hit(strike: Strike, attempt: int = 1, began: float = 120.0) -> Injection:
    return Injection(strike, "sft", attempt, "Training 12", began, began + 1)


CALM = Record(RunPlan("calm", ("sft",), ()), job(), (), (), (), {("sft", 1): steps(1, 60, 0)})
GOOD = Record(
    plan=RunPlan("1/1", ("sft",), (KILL,)),
    job=job(),
    injections=(hit(KILL),),
    snapshots=(Snapshot(100, {}), Snapshot(123, job()["status"])),
    gangs=(gang(1, 100, 122), gang(2, 123, 300)),
    steps={("sft", 1): steps(1, 14, 101), ("sft", 2): steps(11, 60, 130)},
)


def test_nothing_is_wrong_with_a_good_run() -> None:
    assert invariants.violations(GOOD, CALM) == []


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (replace(GOOD, job=job({"Complete": "False"})), "condition Complete is not True"),
        (replace(GOOD, job=job({"Stalled": "True"})), "condition Stalled is not False"),
        (replace(GOOD, job=job(phase="Failed", reason="TrainerError")), "stage sft is Failed at the end: TrainerError"),
        (replace(GOOD, job=job(progress={"attempt": 2, "step": 50, "totalSteps": 60})), "ended at step 50 of 60"),
        (replace(GOOD, plan=RunPlan("1/1", ("sft", "dpo"), ())), "stages at the end"),
        (replace(GOOD, gangs=(gang(1, 100, 122), gang(2, 121.5, 300))), "gang-2 was created 0.500 s before"),
        (replace(GOOD, gangs=(gang(1, 100, None), gang(2, 123, 300))), "though a Pod of gang-1 never ended"),
        (replace(GOOD, gangs=(gang(1, 100, 122), gang(2, 123, 300, 2))), "gang-2 was created 2 times"),
        (replace(GOOD, twice_alive=frozenset({("sft", (1, 2))})), "processes of attempts (1, 2) at sft were alive"),
        (replace(GOOD, injections=()), "struck by: nothing"),
        (replace(GOOD, injections=(hit(QUIET),)), "struck by: kubelet restarted"),
        (replace(GOOD, injections=(hit(KILL, 3, 500.0),)), "struck by: nothing"),
        (replace(GOOD, job=job(failures=[LINE | {"reason": "NodeLost"}])), "attempt 1 failed with NodeLost"),
        (replace(GOOD, job=job(failures=[LINE | {"message": "who knows"}])), "'who knows'"),
        (replace(GOOD, job=job(failures=[])), "gang-1 was followed by another attempt, and no failure line"),
        (replace(GOOD, job=job(failures=[LINE, LINE])), "an attempt failed twice"),
        (replace(GOOD, gangs=(gang(1, 100, 122), gang(3, 123, 300))), "were numbered [1, 3]"),
        (replace(GOOD, injections=(*GOOD.injections, hit(KILL, 2, 150.0))), "did nothing to attempt 2"),
        (replace(GOOD, orphans=("pods/left",)), "orphan: pods/left"),
        (replace(GOOD, job=job(model={"digest": "sha256:2"})), "the model of sft is sha256:2, undisturbed sha256:1"),
        (replace(GOOD, job=job(model=None)), "the model of sft is missing"),
        (replace(GOOD, steps={("sft", 2): [Step(1, 20, 0.0500001)]}), "attempt 2 step 20: loss 0.0500001"),
    ],
)
def test_what_is_wrong_is_found(bad: Record, says: str) -> None:
    found = invariants.violations(bad, CALM)
    assert any(says in text for text in found), found


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ({"attempt": 2}, {"attempt": 1}, "attempt went back from 2 to 1"),
        ({"phase": "Succeeded"}, {"phase": "Running"}, "was Succeeded and is Running"),
        ({}, {"progress": {"attempt": 2, "step": 59, "totalSteps": 60}}, "step went back from 60 to 59"),
        ({}, {"progress": {"attempt": 1, "step": 61, "totalSteps": 60}}, "progress went back to attempt 1"),
        ({}, {"reason": "Gremlins"}, "unknown reason Gremlins"),
        ({}, {"reason": "ReconcileError", "message": "boom"}, "ReconcileError: boom"),
    ],
)
def test_a_status_that_goes_back_or_speaks_in_tongues_is_found(
    before: dict[str, Any], after: dict[str, Any], says: str
) -> None:
    shown = (Snapshot(1, job(**before)["status"]), Snapshot(2, job(**after)["status"]))
    found = invariants.violations(replace(GOOD, snapshots=shown), CALM)
    assert any(says in text for text in found), found


def test_a_suspension_ends_an_attempt_without_a_failure() -> None:
    suspended = replace(GOOD, job=job(failures=[]), injections=(hit(SUSPEND),))
    assert invariants.violations(suspended, CALM) == []


def test_a_fault_that_lasts_explains_the_attempt_that_began_in_it() -> None:
    lasting = replace(hit(KILL), ended=140.0)
    record = replace(
        GOOD,
        job=job(failures=[LINE, LINE | {"attempt": 2}]),
        injections=(lasting,),
        gangs=(gang(1, 100, 122), gang(2, 123, 135), gang(3, 136, 300)),
    )
    assert list(invariants.failures_explained(record)) == []
    assert list(invariants.failures_explained(replace(record, injections=(replace(lasting, ended=100.0),))))


@pytest.mark.parametrize(
    "overlaps", [{"gangs": (gang(1, 100, None), gang(2, 123, 300))}, {"twice_alive": {("sft", (1, 2))}}]
)
def test_only_a_pod_that_nobody_could_know_alive_is_excused(overlaps: dict[str, Any]) -> None:
    line = LINE | {"reason": "PodLost", "message": "the Pod was deleted"}
    record = replace(GOOD, job=job(failures=[line]), injections=(hit(FORCE),), **overlaps)
    assert invariants.violations(record, CALM) == []
    assert list(invariants.one_live_gang(replace(record, injections=(hit(KILL),))))


def test_measures_tell_detection_resumption_and_lost_steps() -> None:
    (measure,) = measures_of(GOOD)
    assert (measure.detect, measure.resume, measure.lost) == (3.0, 21.0, 4)
    assert (measure.restarted, measure.reason) == (True, "ProcessKilled")
    line = table([measure, replace(measure, lost=2, resume=None)]).splitlines()[1]
    assert " ".join(line.split()) == "rank killed while training 2 2 3 / 3 21 / 21 3 / 4 ProcessKilled 2"


def test_a_fault_that_nothing_came_of_has_no_times() -> None:
    (measure,) = measures_of(replace(GOOD, job=job(failures=[]), snapshots=(), injections=(hit(QUIET, 2),)))
    assert (measure.detect, measure.resume, measure.lost, measure.restarted) == (None, None, None, False)
