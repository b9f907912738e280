"""Gangs out of the API server's audit log."""

from __future__ import annotations

from typing import Any

from tests.e2e.audit import Write

from .history import gangs_of, seconds, steps_of


def _at(second: float) -> str:
    return f"2026-01-01T00:00:{second:09.6f}Z"


def _created(second: float, resource: str, name: str, more: dict[str, str] | None = None) -> Write:
    labels = {
        "alignment.dev/job-name": "job",
        "alignment.dev/role": "train",
        "alignment.dev/stage": "sft",
        "alignment.dev/attempt": "1",
        **(more or {}),
    }
    # The Job controller lets the API server name its Pods: the request itself has no name.
    asked = name if resource == "jobs" else ""
    result = {"metadata": {"name": name, "labels": labels}}
    return Write(_at(second), "somebody", "create", resource, "chaos", asked, 201, result=result)


def _write(second: float, verb: str, resource: str, name: str, result: dict[str, Any], user: str = "somebody") -> Write:
    return Write(_at(second), user, verb, resource, "chaos", name, 200, result=result)


def _phase(second: float, pod: str, phase: str) -> Write:
    return _write(second, "patch", "pods/status", pod, {"status": {"phase": phase}})


_GANG = [_created(0, "jobs", "gang-1"), _created(1, "pods", "gang-1-0-x"), _created(1, "pods", "gang-1-1-y")]


def test_a_gang_ends_with_its_last_pod() -> None:
    writes = [*_GANG, _phase(2, "gang-1-0-x", "Running"), _phase(5, "gang-1-0-x", "Failed")]
    assert [gang.ended for gang in gangs_of(writes, "job")] == [None]
    writes += [_phase(7, "gang-1-1-y", "Succeeded"), _phase(9, "gang-1-0-x", "Failed")]
    (gang,) = gangs_of(writes, "job")
    assert gang.created == seconds(_at(0))
    assert gang.ended == seconds(_at(7))
    assert (gang.stage, gang.attempt, gang.times_created) == ("sft", 1, 1)


def test_a_pod_that_is_told_to_stop_lives_until_its_kubelet_removes_it() -> None:
    told = {"metadata": {"deletionGracePeriodSeconds": 120}}
    gone = {"metadata": {"deletionGracePeriodSeconds": 0}}
    writes = [*_GANG, _phase(2, "gang-1-0-x", "Failed"), _write(3, "delete", "pods", "gang-1-1-y", told)]
    assert gangs_of(writes, "job")[0].ended is None
    writes.append(_write(8, "delete", "pods", "gang-1-1-y", gone, user="system:node:node-1"))
    assert gangs_of(writes, "job")[0].ended == seconds(_at(8))


def test_a_gang_without_pods_ends_when_its_job_is_deleted() -> None:
    writes = [_created(0, "jobs", "gang-1")]
    assert gangs_of(writes, "job")[0].ended is None
    writes.append(_write(4, "delete", "jobs", "gang-1", {}))
    assert gangs_of(writes, "job")[0].ended == seconds(_at(4))


def test_a_job_that_is_made_again_is_counted() -> None:
    writes = [*_GANG, _created(5, "jobs", "gang-1")]
    assert gangs_of(writes, "job")[0].times_created == 2


def test_jobs_of_others_and_prepare_are_no_gangs() -> None:
    other = _created(0, "jobs", "other-1", {"alignment.dev/job-name": "other"})
    prepare = _created(0, "jobs", "prepare-1", {"alignment.dev/role": "prepare"})
    assert gangs_of([other, prepare], "job") == []


def test_steps_are_read_from_a_torn_file() -> None:
    lines = [
        '{"time": "2026-01-01T00:00:01+00:00", "step": 1, "loss": 2.5}',
        '{"time": "2026-01-01T00:00:02+00:00", "step": 1, "eval_loss": 2.5}',
        '{"time": "2026-01-01T00:0',
    ]
    assert [(step.step, step.loss) for step in steps_of(lines)] == [(1, 2.5)]
