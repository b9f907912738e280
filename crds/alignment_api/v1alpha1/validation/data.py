"""Datasets: formats that a method can use, held-out rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ...contract.summary import Problem
from ..alignment_job import ONLINE_METHODS, AlignmentJobSpec, Method, Stage
from ..dataset import INSTRUCTION_FORMATS, PREFERENCE_FORMATS, DatasetFormat, field_below

FORMATS_OF_METHOD: Final[Mapping[Method, frozenset[DatasetFormat]]] = {
    Method.SFT: INSTRUCTION_FORMATS,
    **dict.fromkeys((Method.REWARD, Method.DPO, Method.ORPO, Method.CPO, Method.SIMPO), PREFERENCE_FORMATS),
    Method.KTO: PREFERENCE_FORMATS | {DatasetFormat.UNPAIRED_PREFERENCE},
    **dict.fromkeys(ONLINE_METHODS, frozenset({DatasetFormat.PROMPTS})),
    Method.EVALUATE: PREFERENCE_FORMATS | {DatasetFormat.PROMPTS},
}
"""What a manifest may name; ``auto`` also takes demonstrations for evaluation, whose prompts it uses."""


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Datasets that the stage's method cannot use."""
    stages = {stage.name: stage for stage in spec.stages}
    for index, stage in enumerate(spec.stages):
        field = f"spec.stages[{index}]"
        yield from _formats(field, stage)
        held_out_from = stages.get(stage.dataset.held_out_from_stage or "")
        if held_out_from is not None and not _holds_out(held_out_from):
            yield Problem(
                field=f"{field}.dataset.heldOutFromStage",
                message=f"stage {held_out_from.name!r} holds no rows out: set evalFraction or evalDataset on its "
                "dataset",
            )
        if stage.method is Method.EVALUATE and _holds_out(stage):
            yield Problem(
                field=f"{field}.dataset.{'evalDataset' if stage.dataset.eval_dataset else 'evalFraction'}",
                message="an evaluate stage uses all its rows: remove this field",
            )
        if stage.training.eval_steps is not None and not _holds_out(stage):
            yield Problem(
                field=f"{field}.training.evalSteps",
                message="there are no held-out rows to evaluate on: set dataset.evalFraction or "
                "dataset.evalDataset, or remove evalSteps",
            )


def _holds_out(stage: Stage) -> bool:
    return stage.dataset.eval_fraction > 0 or stage.dataset.eval_dataset is not None


def _formats(field: str, stage: Stage) -> Iterator[Problem]:
    usable = FORMATS_OF_METHOD[stage.method]
    for path, source in stage.dataset.sources():
        if source.format is DatasetFormat.AUTO or source.format in usable:
            continue
        names = ", ".join(name.value for name in DatasetFormat if name in usable)
        yield Problem(
            field=f"{field_below(f'{field}.dataset', path)}.format",
            message=f"{source.format.value} does not hold what {stage.method} learns from; use one of: {names}",
        )
