"""The state of a job's runs in the course of one planning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from alignment_api.v1alpha1 import (
    AlignmentJobSpec,
    AlignmentJobStatus,
    PrepareStatus,
    PromotionStatus,
    ResolvedModel,
    RunStatus,
    StagePhase,
    StageStatus,
)

from ..status.runs import Run
from .attempts import PREPARE, PROMOTION


@dataclass(frozen=True)
class Pipeline:
    """All runs of a job, and what the policies want done so far. Each policy returns a changed copy.

    Attributes:
        prepare: Prepare.
        stages: the stages, in the order of the spec.
        promotion: the promotion; None if the spec has none.
        models: what references to other jobs came to.
        report: the job's report, relative to the workspace; None before there is one.
        is_stuck: whether what Prepare waits for will not come by itself, though its reason alone does not say so.
        restarts: gangs started again after a failure, over the whole job.
        failures: failures counted against each budget, over the whole job.
        node_failures: failures by the node that is to blame, over the whole job.
        apply: manifests to apply.
        wakes: instants at which to plan again.
    """

    prepare: PrepareStatus
    stages: tuple[StageStatus, ...]
    promotion: PromotionStatus | None = None
    models: tuple[ResolvedModel, ...] = ()
    report: str | None = None
    is_stuck: bool = False
    restarts: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    node_failures: Mapping[str, int] = field(default_factory=dict)
    apply: tuple[dict[str, Any], ...] = ()
    wakes: tuple[datetime, ...] = ()

    @property
    def is_prepared(self) -> bool:
        """Whether data and configuration of every stage were found good."""
        return self.prepare.phase is StagePhase.SUCCEEDED

    @property
    def are_stages_done(self) -> bool:
        """Whether every stage succeeded."""
        return all(stage.phase is StagePhase.SUCCEEDED for stage in self.stages)

    def runs(self) -> tuple[tuple[str, RunStatus], ...]:
        """All runs by the names under which their attempts are found."""
        last = ((PROMOTION, self.promotion),) if self.promotion is not None else ()
        return ((PREPARE, self.prepare), *((stage.name, stage) for stage in self.stages), *last)

    def with_run(self, run: Run) -> Pipeline:
        """A copy in which ``run`` replaces what it is a newer state of."""
        if isinstance(run, StageStatus):
            return replace(self, stages=tuple(run if other.name == run.name else other for other in self.stages))
        if isinstance(run, PrepareStatus):
            return replace(self, prepare=run)
        if isinstance(run, PromotionStatus):
            return replace(self, promotion=run)
        raise TypeError(f"{type(run).__name__} is not part of a pipeline")

    def each_run(self, change: Callable[[str, RunStatus], RunStatus]) -> Pipeline:
        """A copy in which every run is what ``change`` makes of it."""
        pipeline = self
        for name, run in self.runs():
            pipeline = pipeline.with_run(change(name, run))
        return pipeline

    def waking(self, *instants: datetime | None) -> Pipeline:
        """A copy that also plans again at those of ``instants`` that are not None."""
        return replace(self, wakes=self.wakes + tuple(instant for instant in instants if instant is not None))


def pipeline_of(spec: AlignmentJobSpec, stored: AlignmentJobStatus) -> Pipeline:
    """The pipeline as the stored status tells it; stages that it does not know yet have not begun."""
    known = {stage.name: stage for stage in stored.stages or []}
    return Pipeline(
        prepare=stored.prepare or PrepareStatus(),
        stages=tuple(
            known.get(stage.name) or StageStatus(name=stage.name, method=stage.method.value) for stage in spec.stages
        ),
        promotion=(stored.promotion or PromotionStatus()) if spec.promotion is not None else None,
        models=tuple(stored.models or ()),
        report=stored.report,
        restarts=stored.restarts or 0,
        failures=stored.failures or {},
        node_failures=stored.node_failures or {},
    )
