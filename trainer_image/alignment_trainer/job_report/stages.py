"""Reads what the workspace has of one stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from pydantic import ValidationError

from alignment_api.contract import JobLayout, RunConfig, StageLayout
from alignment_api.contract.layout import COMPLETION_MARKER
from alignment_api.v1alpha1 import Method, Stage

from ..evaluation.results import RESPONSES, RESULTS, EvaluationResults
from . import cost, curves, reading
from .attempts import AttemptFiles, attempts_of
from .model import (
    Attempt,
    Curve,
    DataReport,
    EvaluationReport,
    ModelResult,
    QualityLimit,
    Restart,
    StageReport,
    State,
)
from .samples import samples_of

DATA_REPORT: Final = "data.json"
DATA_PAGE: Final = "data.html"
_MAX_REASONS: Final = 12
_MAX_SETTING: Final = 200
_LEFT_TO_LIBRARIES: Final = frozenset({"trl", "trainer"})
"""Who decided options that say nothing about the job; see `alignment_trainer.resolved`."""


@dataclass(frozen=True)
class Bounds:
    """How much of a job is shown, however large it is.

    Attributes:
        history_bytes: of all metrics together, what is read; of longer files, stretches.
        points: of all curves together.
        charts: of one stage.
        samples: of the most changed prompts of an evaluation, and of random ones.
        text_bytes: of all sample texts together.
        most_text: bytes of the longest sample text.
    """

    history_bytes: int = 32 << 20
    points: int = 40_000
    charts: int = 18
    samples: int = 10
    text_bytes: int = 600_000
    most_text: int = 4_000

    def halved(self) -> Bounds:
        """Half as much of what takes the most room."""
        return replace(
            self, points=self.points // 2, text_bytes=self.text_bytes // 2, charts=max(1, self.charts * 2 // 3)
        )


class StageReader:
    """Reads one stage."""

    def __init__(self, stage: Stage, config: RunConfig, layout: JobLayout, bounds: Bounds, now: datetime) -> None:
        self._stage = stage
        self._runtime = config.spec.runtime_of(stage)
        self._layout = layout
        self._folders: StageLayout = layout.stage(stage.name)
        self._bounds = bounds
        self._share = 1 / len(config.spec.stages)
        self._now = now

    def report(self) -> StageReport:
        evaluation, model = self._evaluation(), self._model()
        complete = evaluation is not None if self._stage.method is Method.EVALUATE else model is not None
        files = attempts_of(
            self._layout,
            self._folders,
            self._runtime,
            complete=complete,
            now=self._now,
            history_bytes=int(self._bounds.history_bytes * self._share),
        )
        attempts = [each.attempt for each in files]
        progress = [each.progress for each in files if each.progress is not None]
        tokens = max((each.tokens for each in progress), default=0)
        if evaluation is not None:
            tokens = evaluation.results.tokens
        resolved = next((each.resolved for each in reversed(files) if each.resolved), {})
        shown, left_out = self._curves(files)
        ends = [attempt.ended_at for attempt in attempts if attempt.ended_at is not None]
        seed = resolved.get("seed")
        return StageReport(
            name=self._stage.name,
            method=self._stage.method.value,
            state=_stage_state(attempts, complete=complete),
            started_at=min((a.started_at for a in attempts if a.started_at is not None), default=None),
            ended_at=max(ends, default=None),
            step=max((a.last_step for a in attempts if a.last_step is not None), default=0),
            total_steps=progress[-1].total_steps if progress else 0,
            attempts=attempts,
            curves=shown,
            curves_left_out=left_out,
            restarts=_restarts(attempts),
            data=self._data(),
            evaluation=evaluation,
            model=model,
            cost=cost.stage_cost(attempts, tokens),
            settings=_settings(resolved),
            seed=seed if isinstance(seed, int) else None,
            versions=reading.texts(resolved.get("versions")),
        )

    def _curves(self, files: Sequence[AttemptFiles]) -> tuple[list[Curve], list[str]]:
        if self._stage.method is Method.EVALUATE:  # its steps are prompts, and its metrics come once, at the end
            return [], []
        points = int(self._bounds.points * self._share / (2 * self._bounds.charts))
        metrics = curves.merged([each.reported for each in files])
        return curves.curves(metrics, self._bounds.charts, min(400, max(24, points)))

    def _data(self) -> DataReport | None:
        values = reading.json_object(self._folders.report / DATA_REPORT)
        if not values:
            return None
        known = {field.alias or name for name, field in DataReport.model_fields.items()}
        plain = {name: value for name, value in values.items() if name in known - {"dropped", "limits", "path"}}
        limits = [
            limit
            for limit in reading.objects(values.get("limits"))
            if limit.get("rows") or limit.get("limit") is not None
        ]
        dropped = [(each.get("rows"), each.get("reason")) for each in reading.objects(values.get("dropped"))]
        path = self._layout.relative(self._folders.report / DATA_PAGE)
        fields = {field.alias or name for name, field in QualityLimit.model_fields.items()}
        try:
            return DataReport.model_validate(
                plain
                | {
                    "path": path,
                    "dropped": dropped[:_MAX_REASONS],
                    "limits": [{name: each[name] for name in fields & each.keys()} for each in limits],
                }
            )
        except ValidationError:
            return None

    def _evaluation(self) -> EvaluationReport | None:
        results = reading.model(self._folders.report / RESULTS, EvaluationResults)
        if results is None:
            return None
        responses = self._folders.report / RESPONSES
        samples = samples_of(
            results,
            responses,
            each=self._bounds.samples,
            text_bytes=int(self._bounds.text_bytes * self._share),
            most_text=self._bounds.most_text,
        )
        return EvaluationReport(results=results, samples=samples, responses=self._layout.relative(responses))

    def _model(self) -> ModelResult | None:
        marker = reading.json_object(self._folders.model / COMPLETION_MARKER)
        if not marker:
            return None
        files, digest = marker.get("files"), marker.get("digest")
        sizes = (
            [each.get("size") for each in files.values() if isinstance(each, dict)] if isinstance(files, dict) else []
        )
        return ModelResult(
            path=self._layout.relative(self._folders.model),
            digest=digest if isinstance(digest, str) else None,
            bytes=sum(size for size in sizes if isinstance(size, int)),
        )


def _stage_state(attempts: Sequence[Attempt], *, complete: bool) -> State:
    if complete:
        return State.SUCCEEDED
    return attempts[-1].state if attempts else State.WAITING


def _restarts(attempts: Sequence[Attempt]) -> list[Restart]:
    return [
        Restart(attempt=after.number, step=after.resumed_from, text=_why(before))
        for before, after in pairwise(attempts)
        if after.resumed_from is not None
    ]


def _why(attempt: Attempt) -> str:
    if attempt.state is State.LOST:
        return "lost"
    return attempt.reason or attempt.state.value


def _settings(resolved: Mapping[str, Any]) -> dict[str, str]:
    options = resolved.get("options")
    return {
        str(name): str(option.get("value"))[:_MAX_SETTING]
        for name, option in (options.items() if isinstance(options, dict) else ())
        if isinstance(option, dict) and option.get("by") not in _LEFT_TO_LIBRARIES and option.get("value") is not None
    }
