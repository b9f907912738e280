"""What all parts of one planning share: the job as accepted and what is known at this instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from alignment_api.contract import JobReference
from alignment_api.v1alpha1 import AlignmentJobSpec, AlignmentJobStatus, RunStatus

from .attempts import PREPARE, PROMOTION, Attempts
from .observed import Observed, Settings


@dataclass(frozen=True)
class Context:
    """The input of every policy; nothing of it changes during one planning.

    Attributes:
        job: which AlignmentJob.
        generation: metadata.generation of the manifest.
        spec: the accepted specification, with the models of other jobs that are known in place of their names.
        stored: the status as it stands in the cluster.
        attempts: what is seen, by the names of `attempts.attempts_by_stage`.
        observed: the rest of what is seen.
        settings: the administrator's.
        now: the operator's clock.
    """

    job: JobReference
    generation: int
    spec: AlignmentJobSpec
    stored: AlignmentJobStatus
    attempts: Mapping[str, Attempts]
    observed: Observed
    settings: Settings
    now: datetime

    def attempts_of(self, stage: str) -> Attempts:
        """What is seen of ``stage``; nothing, if nothing is."""
        return self.attempts.get(stage, Attempts())

    def stored_run(self, name: str) -> RunStatus | None:
        """The run of that name as the stored status has it."""
        if name == PREPARE:
            return self.stored.prepare
        if name == PROMOTION:
            return self.stored.promotion
        return next((stage for stage in self.stored.stages or () if stage.name == name), None)
