"""Which stage `kubectl get` shows."""

from __future__ import annotations

from alignment_api.v1alpha1 import StagePhase, StageStatus
from alignment_operator.status.current import current_stage


def shown(*phases: StagePhase) -> str | None:
    stages = [StageStatus(name=f"s{i}", method="sft", phase=phase, attempt=1) for i, phase in enumerate(phases)]
    current = current_stage(stages)
    return current.stage if current is not None else None


def test_the_one_with_a_gang_else_the_next() -> None:
    assert shown(StagePhase.SUCCEEDED, StagePhase.RUNNING, StagePhase.WAITING) == "s1"
    assert shown(StagePhase.SUCCEEDED, StagePhase.WAITING, StagePhase.WAITING) == "s1"


def test_of_an_ended_job_the_one_that_failed_else_the_last() -> None:
    assert shown(StagePhase.SUCCEEDED, StagePhase.FAILED, StagePhase.SKIPPED) == "s1"
    assert shown(StagePhase.SUCCEEDED, StagePhase.SUCCEEDED) == "s1"
    assert shown(StagePhase.SUCCEEDED, StagePhase.SKIPPED) == "s0"


def test_none_of_a_job_that_prepare_refused() -> None:
    assert shown(StagePhase.SKIPPED, StagePhase.SKIPPED) is None
    assert shown() is None
