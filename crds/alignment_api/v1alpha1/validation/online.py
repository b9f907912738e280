"""Batches of methods that compare several responses to each prompt: every batch must hold whole groups."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeGuard

from ...contract.summary import Problem
from ..alignment_job import AlignmentJobSpec, Stage
from ..runtime import Runtime

_GENERATION_BATCH = "generation_batch_size"
_EVAL_GENERATIONS = "num_generations_eval"
_EVAL_BATCH = "per_device_eval_batch_size"


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Batch sizes that would tear groups of responses apart, with the nearest that do not."""
    for index, stage in enumerate(spec.stages):
        if generations(stage) is not None:
            yield from _batches(f"spec.stages[{index}]", stage, spec.runtime_of(stage))


def generations(stage: Stage) -> int | None:
    """Responses in a group; None if the stage's method compares none."""
    method = stage.grpo or stage.rloo
    return method.generations if method is not None else None


def _batches(field: str, stage: Stage, runtime: Runtime) -> Iterator[Problem]:
    group = generations(stage) or 1
    processes = runtime.nodes * runtime.processes_per_node
    training, arguments = stage.training, stage.trainer_args or {}
    rows = training.micro_batch_size * processes
    whole = math.lcm(group, rows)
    words = (
        f"{stage.method}.generations {group} and of microBatchSize {training.micro_batch_size} x nodes {runtime.nodes} "
        f"x processesPerNode {runtime.processes_per_node} = {rows}"
    )
    if training.global_batch_size % whole:
        yield Problem(
            field=f"{field}.training.globalBatchSize",
            message=f"{training.global_batch_size} responses are not a multiple of {words}: use "
            f"{_nearest(training.global_batch_size, whole)}, or change one of the factors",
        )
    batch = arguments.get(_GENERATION_BATCH)
    if _is_size(batch) and batch % whole:
        yield Problem(
            field=f"{field}.trainerArgs.{_GENERATION_BATCH}",
            message=f"{batch} responses are not a multiple of {words}: use {_nearest(batch, whole)}",
        )
    held_out, size = arguments.get(_EVAL_GENERATIONS), arguments.get(_EVAL_BATCH, training.micro_batch_size)
    if _is_size(held_out) and _is_size(size) and size * processes % held_out:
        per_process = held_out // math.gcd(held_out, processes)
        yield Problem(
            field=f"{field}.trainerArgs.{_EVAL_GENERATIONS}",
            message=f"groups of {held_out} responses do not fill {_EVAL_BATCH} {size} x {processes} processes: use 1, "
            f"or set {_EVAL_BATCH} to {_nearest(size, per_process)}",
        )


def _is_size(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _nearest(size: int, multiple: int) -> str:
    below = size // multiple * multiple
    return " or ".join(str(candidate) for candidate in (below, below + multiple) if candidate > 0)
