"""When a status is written at once, soon, or with the next interval."""

from __future__ import annotations

import pytest

from alignment_api.v1alpha1 import AlignmentJobStatus, JobPhase
from alignment_operator.controller.pace import status_wait
from alignment_operator.planning.actions import Event, ObjectKey, Plan

RUNNING = AlignmentJobStatus(phase=JobPhase.RUNNING)
JOB = ObjectKey("Job", "team", "sft-1")
ENDED = AlignmentJobStatus(phase=JobPhase.FAILED)


@pytest.mark.parametrize(
    ("steps", "since_written", "wait"),
    [
        pytest.param(Plan(status=RUNNING), None, 0, id="the first status"),
        pytest.param(Plan(status=RUNNING, urgent=True, apply=({},)), 0.2, 0, id="an attempt begins"),
        pytest.param(Plan(status=RUNNING, urgent=True, delete=(JOB,)), 0.2, 0, id="an attempt is stopped"),
        pytest.param(Plan(status=ENDED, urgent=True), 0.2, 0, id="the job ended"),
        pytest.param(Plan(status=RUNNING, urgent=True), 5, -4, id="urgent after a quiet time"),
        pytest.param(Plan(status=RUNNING, urgent=True), 0.25, 0.75, id="urgent on the heels of another"),
        pytest.param(Plan(status=RUNNING, events=(Event("Warning", "x", "x"),)), 0.25, 0.75, id="worth an event"),
        pytest.param(Plan(status=RUNNING), 5, 10, id="mere numbers"),
    ],
)
def test_wait(steps: Plan, since_written: float | None, wait: float) -> None:
    assert status_wait(steps, since_written, interval=15) == wait


def test_a_short_status_interval_is_the_longest_wait() -> None:
    assert status_wait(Plan(status=RUNNING, urgent=True), 0.0, interval=0.5) == 0.5
