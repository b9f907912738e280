"""Evaluation and promotion: names that are there, gates that can be computed, candidates that can be promoted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ...contract.summary import Problem
from .. import uses
from ..alignment_job import ONLINE_METHODS, AlignmentJobSpec, Method, Stage
from ..dataset import DatasetFormat
from ..evaluation import Evaluate, Gate, GateMetric
from ..evaluation.gates import NAMED_METRICS
from ..promotion import Promotion, PromotionArtifact

_OF_PAIRS: Final = frozenset({GateMetric.PREFERENCE_ACCURACY, GateMetric.PREFERENCE_MARGIN})
_OWN_FOLDERS: Final = ("jobs", "cache")
"""What lies at the root of a workspace that jobs manage themselves."""


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Evaluate stages whose gates cannot be computed, and promotions that cannot happen."""
    stages = {stage.name: stage for stage in spec.stages}
    for index, stage in enumerate(spec.stages):
        if stage.evaluate is not None:
            field = f"spec.stages[{index}].evaluate"
            yield from _names(field, stage.evaluate)
            has_pairs = _has_pairs(stage, stages.get(stage.dataset.held_out_from_stage or ""))
            for position, gate in enumerate(stage.evaluate.gates):
                yield from _gate(f"{field}.gates[{position}]", gate, stage.evaluate, has_pairs=has_pairs)
    if spec.promotion is not None:
        yield from _promotion(spec.promotion, spec)
    if spec.workspace.persistent_volume_claim is None:
        for use in uses.job_models(spec):
            yield Problem(
                field=f"{use.field}.fromJob",
                message=f"the model of job {use.source.name!r} lies in its workspace, and this job makes a claim of "
                "its own: set spec.workspace.persistentVolumeClaim to the claim that both use",
            )


def _names(field: str, evaluate: Evaluate) -> Iterator[Problem]:
    """Names that stand twice where they must tell things apart."""
    measures = evaluate.measures
    for below, what, names in (
        ("candidates", "candidate", [candidate.name for candidate in evaluate.candidates or ()]),
        ("judges", "judge", [judge.name for judge in evaluate.judges]),
        ("measures.texts", "text", [text.name for text in measures.texts]),
        ("measures.tasks", "task", [task.name for task in measures.tasks]),
        ("measures.classifiers", "classifier", [classifier.name for classifier in measures.classifiers]),
    ):
        for position, name in enumerate(names):
            path = f"{field}.{below}[{position}].name"
            if name in names[:position]:
                yield Problem(field=path, message=f"{name!r} is the name of an earlier {what}; rename it")
            if below == "candidates" and name == "baseline":
                yield Problem(field=path, message="'baseline' is what the other model is called; rename it")


def _gate(field: str, gate: Gate, evaluate: Evaluate, *, has_pairs: bool) -> Iterator[Problem]:
    judges = [judge.name for judge in evaluate.judges]
    if gate.judge is not None and gate.judge not in judges:
        yield Problem(field=f"{field}.judge", message=_no_such("judge", gate.judge, judges))
    named = evaluate.measures
    choices = {
        GateMetric.PERPLEXITY: [text.name for text in named.texts],
        GateMetric.TASK: [task.name for task in named.tasks],
        GateMetric.CLASSIFIER: [classifier.name for classifier in named.classifiers],
    }
    if gate.metric in NAMED_METRICS and gate.measure is not None and gate.measure not in choices[gate.metric]:
        below = {GateMetric.PERPLEXITY: "texts", GateMetric.TASK: "tasks", GateMetric.CLASSIFIER: "classifiers"}
        what = f"entry of evaluate.measures.{below[gate.metric]}"
        yield Problem(field=f"{field}.measure", message=_no_such(what, gate.measure, choices[gate.metric]))
    judge = next((judge for judge in evaluate.judges if judge.name == (gate.judge or judges[0])), None)
    if gate.metric is GateMetric.SCORE and judge is not None and judge.llm is not None:
        yield Problem(
            field=f"{field}.metric",
            message=f"judge {judge.name!r} compares and gives no scores: name a judge with a reward model or a "
            "heuristic, or gate on winRate",
        )
    if gate.metric in _OF_PAIRS and not has_pairs:
        yield Problem(
            field=f"{field}.metric",
            message=f"{gate.metric} needs pairs of chosen and rejected responses, and the stage's dataset has "
            "none: use preference data, or gate on winRate",
        )


def _has_pairs(stage: Stage, held_out_from: Stage | None) -> bool:
    if held_out_from is not None and held_out_from.method in {Method.SFT, *ONLINE_METHODS}:
        return False
    return stage.dataset.format is not DatasetFormat.PROMPTS


def _promotion(promotion: Promotion, spec: AlignmentJobSpec) -> Iterator[Problem]:
    gated = [stage.name for stage in spec.stages if stage.evaluate is not None and stage.evaluate.gates]
    if not gated:
        yield Problem(
            field="spec.promotion",
            message="no stage has gates, so nothing could ever be promoted: add an evaluate stage with gates",
        )
    elif promotion.stage is not None and promotion.stage not in gated:
        yield Problem(field="spec.promotion.stage", message=_no_such("stage with gates", promotion.stage, gated))
    elif promotion.artifact is PromotionArtifact.ADAPTER:
        yield from _adapters(spec)
    for index, place in enumerate(promotion.to):
        if place.volume is not None and place.volume.path.split("/")[0] in _OWN_FOLDERS:
            yield Problem(
                field=f"spec.promotion.to[{index}].volume.path",
                message=f"{place.volume.path!r} is among the folders that jobs manage ({', '.join(_OWN_FOLDERS)}): "
                "choose another, such as models/my-model",
            )
        if place in promotion.to[:index]:
            yield Problem(field=f"spec.promotion.to[{index}]", message="is the same as an earlier place: remove it")


def _adapters(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Candidates of the promoting stage that have no adapter."""
    stage = spec.promoting_stage()
    for field, source in stage.evaluate.candidate_fields().values() if stage and stage.evaluate else ():
        trained = next((other for other in spec.stages if other.name == source.from_stage), None)
        if trained is None or trained.adapter is None:
            yield Problem(
                field="spec.promotion.artifact",
                message=f"evaluate.{field} of stage {stage.name if stage else ''!r} has no adapter: set artifact to "
                "model, or name a stage that trains an adapter",
            )


def _no_such(what: str, name: str, names: Sequence[str]) -> str:
    choices = f"name one of: {', '.join(names)}" if names else "there is none"
    return f"there is no {what} {name!r}; {choices}"
