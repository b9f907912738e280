"""Reads all that the workspace has of a job, whatever is missing or torn, into a report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from alignment_api.contract import JobLayout, Problem, RunConfig
from alignment_api.v1alpha1 import PromotionResult

from . import cost, graph, reading
from .findings import findings
from .model import JobReport, Lineage, StageReport, State
from .stages import Bounds, StageReader

_MAX_STATEMENT_BYTES: Final = 200_000


def collect(
    config: RunConfig,
    layout: JobLayout,
    bounds: Bounds,
    now: datetime,
    problems: Sequence[Problem] = (),
    promotion: PromotionResult | None = None,
) -> JobReport:
    """The report of a job.

    Args:
        config: the job.
        layout: its folders.
        bounds: how much is shown.
        now: the time.
        problems: why Prepare or the promotion failed.
        promotion: what was promoted.
    """
    spec = config.spec
    stages = [StageReader(stage, config, layout, bounds, now).report() for stage in spec.stages]
    statement = _statement(layout)
    starts = [stage.started_at for stage in stages if stage.started_at is not None]
    ends = [stage.ended_at for stage in stages if stage.ended_at is not None]
    state = _job_state(stages, problems, promotes=_promotes(config, stages) and promotion is None)
    versions: dict[str, str] = {}
    for stage in stages:
        versions |= stage.versions
    return JobReport(
        job=config.job,
        state=state,
        written_at=now,
        started_at=min(starts, default=None),
        ended_at=max(ends, default=None) if state is not State.RUNNING else None,
        image=spec.runtime.image,
        versions=versions,
        problems=list(problems),
        promotion=promotion,
        findings=findings(stages, problems),
        graph=graph.graph_of(spec, {stage.name: stage.state for stage in stages}, promoted=promotion is not None),
        stages=stages,
        cost=cost.total(stage.cost for stage in stages),
        lineage=Lineage(
            bases=_bases(layout),
            digests={stage.name: stage.model.digest for stage in stages if stage.model and stage.model.digest},
            statement=statement,
            path=layout.relative(layout.lineage) if statement is not None else None,
        ),
    )


def _job_state(stages: Sequence[StageReport], problems: Sequence[Problem], *, promotes: bool) -> State:
    states = {stage.state for stage in stages}
    if problems or State.FAILED in states:
        return State.FAILED
    if states == {State.SUCCEEDED}:
        return State.RUNNING if promotes else State.SUCCEEDED
    if states == {State.WAITING}:
        return State.WAITING
    return State.STOPPED if State.STOPPED in states and State.RUNNING not in states else State.RUNNING


def _promotes(config: RunConfig, stages: Sequence[StageReport]) -> bool:
    """Whether the job puts a model somewhere, its gates being passed."""
    promoting = config.spec.promoting_stage()
    if config.spec.promotion is None or promoting is None:
        return False
    evaluation = next(stage.evaluation for stage in stages if stage.name == promoting.name)
    return evaluation is not None and any(each.chosen and each.passed for each in evaluation.results.candidates)


def _bases(layout: JobLayout) -> dict[str, str]:
    """Folders of the models that no stage of the job made, by who takes them."""
    models = reading.json_object(layout.prepared).get("models")
    own = layout.relative(layout.root) + "/"
    return {
        f"{stage} {field}": folder
        for stage, fields in (models.items() if isinstance(models, dict) else ())
        for field, folder in reading.texts(fields).items()
        if not folder.startswith(own)
    }


def _statement(layout: JobLayout) -> dict[str, Any] | None:
    try:
        if layout.lineage.stat().st_size > _MAX_STATEMENT_BYTES:
            return {"note": "too long to be shown here"}
    except OSError:
        return None
    return reading.json_object(layout.lineage) or None
