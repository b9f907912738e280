"""Thresholds of the guard that the stage's method has no numbers for: they would protect from nothing."""

from __future__ import annotations

from collections.abc import Iterator

from ...contract.summary import Problem
from ..alignment_job import ONLINE_METHODS, AlignmentJobSpec, Method, Stage
from ..methods import KtoLoss

_PAIRWISE = frozenset({Method.REWARD, Method.DPO, Method.KTO, Method.ORPO, Method.CPO, Method.SIMPO})


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Thresholds without effect."""
    for index, stage in enumerate(spec.stages):
        for field, reason in _without_effect(stage):
            yield Problem(
                field=f"spec.stages[{index}].guard.{field}", message=f"{reason}, so this has no effect: remove it"
            )


def _without_effect(stage: Stage) -> Iterator[tuple[str, str]]:
    """Fields of the stage's guard that are set in vain, and why."""
    guard, method = stage.guard, stage.method
    if guard is None:
        return
    without_kl = _why_without_kl(stage)
    if guard.max_kl is not None and without_kl:
        yield "maxKl", without_kl
    if guard.max_reward_margin is not None and method not in _PAIRWISE:
        yield "maxRewardMargin", f"{method} stages compare no chosen with rejected responses"
    if method not in ONLINE_METHODS:
        for field, value in (
            ("maxLengthGrowth", guard.max_length_growth),
            ("maxRepetition", guard.max_repetition),
            ("minRewardStd", guard.min_reward_std),
        ):
            if value is not None:
                yield field, f"{method} stages generate no responses"


def _why_without_kl(stage: Stage) -> str | None:
    """Why the stage reports no KL; None if it does."""
    if stage.kto is not None:
        return None if stage.kto.loss is KtoLoss.KTO else f"the loss {stage.kto.loss} estimates no KL"
    for member in (stage.grpo, stage.rloo):
        if member is not None:
            return None if member.beta > 0 else f"with {stage.method}.beta 0 there is no reference to be distant from"
    if stage.ppo is not None:
        return None if stage.ppo.kl_coefficient > 0 else "with ppo.klCoefficient 0 there is no reference"
    return f"{stage.method} stages report no KL"
