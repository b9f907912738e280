"""Everything that is known of one run when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .history import Gang, Step
from .observer import Snapshot
from .schedule import RunPlan, Strike


@dataclass(frozen=True)
class Injection:
    """A strike that took place.

    Attributes:
        strike: what was planned.
        stage: the stage that was struck; empty for Prepare.
        attempt: its attempt then; 0 for Prepare.
        phase: what that Pod said it was doing.
        began: when it struck, in seconds since the epoch.
        ended: when all but the gang was whole again.
    """

    strike: Strike
    stage: str
    attempt: int
    phase: str
    began: float
    ended: float


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        plan: what was planned.
        job: the AlignmentJob at its end.
        injections: the strikes that took place, in their order.
        snapshots: every status that was seen.
        gangs: from the audit log, oldest first.
        steps: what each attempt logged, by stage and attempt.
        twice_alive: gangs of which two were seen alive at once, as stage and attempts.
        orphans: what was left when the job had been deleted.
    """

    plan: RunPlan
    job: Mapping[str, Any]
    injections: Sequence[Injection]
    snapshots: Sequence[Snapshot]
    gangs: Sequence[Gang]
    steps: Mapping[tuple[str, int], Sequence[Step]]
    twice_alive: frozenset[tuple[str, tuple[int, ...]]] = frozenset()
    orphans: Sequence[str] = field(default_factory=tuple)

    @property
    def stages(self) -> Sequence[Mapping[str, Any]]:
        """The stages' status at the end."""
        found: Sequence[Mapping[str, Any]] = self.job.get("status", {}).get("stages", [])
        return found

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each stage's model."""
        return {stage["name"]: (stage.get("model") or {}).get("digest", "") for stage in self.stages}
