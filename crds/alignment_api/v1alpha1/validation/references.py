"""``fromStage`` references: they exist, make no cycle, and name a stage whose output fits."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from ...contract.summary import Problem
from .. import uses
from ..alignment_job import LANGUAGE_MODEL_METHODS, TRAINING_METHODS, AlignmentJobSpec, Method, Stage
from ..uses import ModelKind


class StageReference(NamedTuple):
    """One place in a stage that names another stage.

    Attributes:
        field: path below the stage, such as ``model.fromStage``.
        stage: the name it gives.
        accepts: methods whose output can be used there.
        output: what is used of the other stage, in words.
    """

    field: str
    stage: str
    accepts: frozenset[Method]
    output: str


_ACCEPTS = {
    ModelKind.LANGUAGE_MODEL: LANGUAGE_MODEL_METHODS,
    ModelKind.REWARD_MODEL: frozenset({Method.REWARD}),
    ModelKind.CLASSIFIER: frozenset(),
    ModelKind.ANY: TRAINING_METHODS,
}


def stage_references(stage: Stage) -> Iterator[StageReference]:
    """Every reference from ``stage`` to another stage."""
    for use in uses.models(stage):
        if use.source.from_stage is not None:
            yield StageReference(f"{use.field}.fromStage", use.source.from_stage, _ACCEPTS[use.kind], use.kind.value)
    if stage.dataset.held_out_from_stage is not None:
        yield StageReference(
            "dataset.heldOutFromStage", stage.dataset.held_out_from_stage, TRAINING_METHODS, "held-out rows"
        )


def dependencies(stage: Stage) -> tuple[str, ...]:
    """Names of the stages that must have succeeded before ``stage`` can start, each once, in order of mention."""
    return tuple(dict.fromkeys(reference.stage for reference in stage_references(stage)))


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """References that name no stage, the wrong kind of stage, or each other in a circle; duplicate names."""
    stages = {stage.name: stage for stage in spec.stages}
    for index, stage in enumerate(spec.stages):
        if any(other.name == stage.name for other in spec.stages[:index]):
            yield Problem(
                field=f"spec.stages[{index}].name", message=f"{stage.name!r} is the name of an earlier stage; rename it"
            )
        for reference in stage_references(stage):
            field = f"spec.stages[{index}].{reference.field}"
            target = stages.get(reference.stage)
            if target is None:
                yield Problem(field=field, message=_unknown(reference.stage, list(stages)))
            elif target.method not in reference.accepts:
                able = sorted(name for name, other in stages.items() if other.method in reference.accepts)
                yield Problem(
                    field=field,
                    message=f"stage {reference.stage!r} is of method {target.method} and does not produce "
                    f"{reference.output}; {_choices(able)}",
                )
        if stage.method is not Method.EVALUATE and stage.model is None and spec.model is None:
            yield Problem(
                field=f"spec.stages[{index}].model",
                message="the stage has no model to start from: set spec.model, or the stage's own model",
            )
    cycle = _cycle(stages)
    if cycle:
        yield Problem(
            field="spec.stages",
            message="the stages wait for each other in a circle: " + " -> ".join(cycle) + "; remove one fromStage",
        )


def _unknown(name: str, names: list[str]) -> str:
    nearest = get_close_matches(name, names, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else _choices(names)
    return f"there is no stage {name!r}; {hint}"


def _choices(names: list[str]) -> str:
    return "name one of: " + ", ".join(names) if names else "this job has no stage that could be named here"


def _cycle(stages: dict[str, Stage]) -> list[str]:
    """One cycle as a list of names that ends where it began; empty when there is none."""
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done or name not in stages:
            return []
        for dependency in dependencies(stages[name]):
            found = visit(dependency, [*trail, name])
            if found:
                return found
        done.add(name)
        return []

    for name in stages:
        found = visit(name, [])
        if found:
            return found
    return []
