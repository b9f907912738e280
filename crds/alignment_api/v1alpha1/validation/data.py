"""Datasets and evaluation: formats that a method can use, held-out rows, gates that can be computed."""

from __future__ import annotations

from collections.abc import Iterator

from ...contract.summary import Problem
from ..alignment_job import AlignmentJobSpec, Method, Stage
from ..dataset import INSTRUCTION_FORMATS, PREFERENCE_FORMATS, DatasetFormat
from ..evaluation import GateMetric

_FORMATS: dict[Method, frozenset[DatasetFormat]] = {
    Method.SFT: INSTRUCTION_FORMATS,
    Method.REWARD: PREFERENCE_FORMATS,
    Method.DPO: PREFERENCE_FORMATS,
    Method.EVALUATE: PREFERENCE_FORMATS | {DatasetFormat.PROMPTS},
}


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Datasets and gates that the stage's method cannot use."""
    stages = {stage.name: stage for stage in spec.stages}
    for index, stage in enumerate(spec.stages):
        field = f"spec.stages[{index}]"
        yield from _format(field, stage)
        held_out_from = stages.get(stage.dataset.held_out_from_stage or "")
        if held_out_from is not None and held_out_from.dataset.eval_fraction == 0:
            yield Problem(
                field=f"{field}.dataset.heldOutFromStage",
                message=f"stage {held_out_from.name!r} holds no rows out: set evalFraction on its dataset",
            )
        if stage.method is Method.EVALUATE and stage.dataset.eval_fraction > 0:
            yield Problem(
                field=f"{field}.dataset.evalFraction",
                message="an evaluate stage uses all its rows: remove evalFraction",
            )
        if stage.training.eval_steps is not None and stage.dataset.eval_fraction == 0:
            yield Problem(
                field=f"{field}.training.evalSteps",
                message="there are no held-out rows to evaluate on: set dataset.evalFraction, or remove evalSteps",
            )
        yield from _gates(field, stage, held_out_from)


def _format(field: str, stage: Stage) -> Iterator[Problem]:
    if stage.dataset.format is DatasetFormat.AUTO or stage.dataset.format in _FORMATS[stage.method]:
        return
    usable = ", ".join(format_.value for format_ in DatasetFormat if format_ in _FORMATS[stage.method])
    yield Problem(
        field=f"{field}.dataset.format",
        message=f"{stage.dataset.format.value} does not hold what {stage.method} learns from; use one of: {usable}",
    )


def _gates(field: str, stage: Stage, held_out_from: Stage | None) -> Iterator[Problem]:
    if stage.evaluate is None:
        return
    judges = [judge.name for judge in stage.evaluate.judges]
    for position, name in enumerate(judges):
        if name in judges[:position]:
            yield Problem(
                field=f"{field}.evaluate.judges[{position}].name",
                message=f"{name!r} is the name of an earlier judge; rename it",
            )
    for position, gate in enumerate(stage.evaluate.gates):
        gate_field = f"{field}.evaluate.gates[{position}]"
        if gate.judge is not None and gate.judge not in judges:
            yield Problem(
                field=f"{gate_field}.judge",
                message=f"there is no judge {gate.judge!r}; name one of: {', '.join(judges)}",
            )
        instructions_only = held_out_from is not None and held_out_from.method is Method.SFT
        if gate.metric is GateMetric.PREFERENCE_ACCURACY and (
            stage.dataset.format is DatasetFormat.PROMPTS or instructions_only
        ):
            yield Problem(
                field=f"{gate_field}.metric",
                message="preferenceAccuracy needs pairs of chosen and rejected responses, and the stage's dataset has "
                "none: use preference data, or gate on winRate",
            )
