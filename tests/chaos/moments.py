"""Waiting for the moment of a strike, and afterwards until one sees what it did."""

from __future__ import annotations

import time
from typing import Final

from alignment_api.contract import Progress, TrainerPhase
from tests.cluster.shell import ClusterError

from . import gang
from .faults import Effect, When
from .gang import Member
from .scene import Scene
from .schedule import Strike

_PATIENCE: Final = 300.0
_ASK_EVERY: Final = 0.5
_STOPPING: Final = 3.0
"""Seconds that a gang which was told to stop may take for its last steps and checkpoint."""
_BUSY: Final = 0.004
"""Between two looks at a progress file: the writing of a checkpoint takes less than a second."""
_PHASE: Final = {
    When.LOADING: TrainerPhase.LOADING,
    When.CHECKPOINTING: TrainerPhase.CHECKPOINTING,
    When.EXPORTING: TrainerPhase.EXPORTING,
}
_OVER: Final = frozenset({"Succeeded", "Failed", "Skipped"})


def wait_for_moment(scene: Scene, strike: Strike, after: int) -> Member | None:
    """The Pod that is struck, at the moment when it is; None when the stage ended before there was such a moment.

    Args:
        scene: the job.
        strike: the fault.
        after: attempts up to this one are ending and not struck again.

    Raises:
        ClusterError: nothing of that happened in minutes.
    """
    deadline, asked = time.monotonic() + _PATIENCE, 0.0
    victim: Member | None = None
    while True:
        now = time.monotonic()
        if now - asked > _ASK_EVERY:
            asked = now
            found = [one for one in gang.members(strike.stage) if one.attempt > after or one.stage == gang.PREPARE]
            newest = [one for one in found if one.attempt == max(other.attempt for other in found)]
            victim = next((one for one in newest if one.rank == strike.rank), newest[0] if newest else None)
            if is_over(scene, strike.stage):
                return None
            if now > deadline:
                raise ClusterError(f"{strike}: this moment does not come")
        if victim is not None and _is_now(strike, victim):
            time.sleep(strike.delay)
            return victim
        time.sleep(_BUSY if victim is not None else 0.05)


def is_over(scene: Scene, stage: str) -> bool:
    """Whether a stage, or Prepare, is at its end."""
    status = scene.job().get("status", {})
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    if stage == gang.PREPARE:
        return (status.get("prepare") or {}).get("phase") in _OVER
    return next((entry["phase"] in _OVER for entry in status.get("stages", []) if entry["name"] == stage), False)


def _is_now(strike: Strike, victim: Member) -> bool:
    if strike.when is When.PREPARING:
        return True
    said = victim.progress()
    if said is None:
        return False
    if strike.when is When.TRAINING:
        return said.step >= strike.step and said.phase is not TrainerPhase.LOADING
    return said.phase is _PHASE[strike.when] and said.step >= strike.step


def wait_until_settled(scene: Scene, strike: Strike, victim: Member) -> int:
    """Wait until the gang goes on, by itself or as a new attempt; the last attempt that is not to be struck again.

    Raises:
        ClusterError: neither happened in minutes.
    """
    if strike.when is When.PREPARING:
        return 0
    before = victim.progress()
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if any(one.attempt > victim.attempt for one in gang.members(strike.stage)):
            return victim.attempt
        if strike.kind.effect is not Effect.RESTART and _goes_on(strike, victim, before):
            return victim.attempt - 1
        if is_over(scene, strike.stage):
            return victim.attempt
        time.sleep(0.2)
    raise ClusterError(f"after {strike}: neither went attempt {victim.attempt} on nor did another begin")


def _goes_on(strike: Strike, victim: Member, before: Progress | None) -> bool:
    """Whether the gang did a step, and was not just about to stop."""
    if not _moved(before, victim.progress()):
        return False
    if strike.kind.effect is Effect.POSSIBLE:
        time.sleep(_STOPPING)
    return victim in gang.members(strike.stage)


def _moved(before: Progress | None, after: Progress | None) -> bool:
    if after is None:
        return False
    if before is None:
        return True
    return (after.phase, after.step) != (before.phase, before.step) and after.phase is not TrainerPhase.LOADING
