"""What a job has cost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from alignment_api.v1alpha1 import Runtime
from alignment_api.v1alpha1.base import parse_quantity

from .model import Attempt, StageCost

_HOUR: Final = 3600.0


def gpus_per_node(runtime: Runtime) -> int:
    """GPUs that each Pod of a gang asks for: by its resources, or one for each process where claims bring devices."""
    amounts = (runtime.resources.requests or {}) | (runtime.resources.limits or {})
    asked = sum(parse_quantity(amount) for name, amount in amounts.items() if name.endswith("/gpu"))
    if asked:
        return round(asked)
    return runtime.processes_per_node if runtime.pod_template.resource_claims else 0


def stage_cost(attempts: Sequence[Attempt], tokens: int) -> StageCost:
    """What the attempts at one stage have cost together.

    Args:
        attempts: all of them, lost ones too: their Pods held their nodes all the same.
        tokens: tokens that the stage has trained on, over all attempts.
    """
    return StageCost(
        node_hours=sum(attempt.seconds * attempt.nodes for attempt in attempts) / _HOUR,
        gpu_hours=sum(attempt.seconds * attempt.nodes * attempt.gpus_per_node for attempt in attempts) / _HOUR,
        lost_steps=sum(attempt.lost_steps for attempt in attempts),
        restarts=max(0, len(attempts) - 1),
        tokens=tokens,
    )


def total(costs: Iterable[StageCost]) -> StageCost:
    """The sum of all stages."""
    costs = list(costs)
    return StageCost(
        node_hours=sum(cost.node_hours for cost in costs),
        gpu_hours=sum(cost.gpu_hours for cost in costs),
        lost_steps=sum(cost.lost_steps for cost in costs),
        restarts=sum(cost.restarts for cost in costs),
        tokens=sum(cost.tokens for cost in costs),
    )
