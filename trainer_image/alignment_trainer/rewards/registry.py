"""From the terms of a stage's reward to functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods import Reward

from .form import PatternScorer, XmlTagsScorer
from .function import RewardFunction
from .length import LengthScorer
from .repetition import RepetitionScorer
from .scoring import Scorer


@dataclass(frozen=True)
class Surroundings:
    """What scorers are built from besides their term.

    Attributes:
        stage: the stage.
        field: path of the term below the stage, such as ``grpo.rewards[0]``.
        models: path of a model below the stage -> its folder.
        tokenizer: the policy's tokenizer.
        device: torch device of this process.
    """

    stage: Stage
    field: str
    models: Mapping[str, str]
    tokenizer: Any
    device: Any


def functions(
    stage: Stage, models: Mapping[str, str], tokenizer: Any, device: Any, *, path: str | None = None
) -> list[RewardFunction]:
    """The functions of the stage's rewards, in the manifest's order; close each of them.

    Args:
        stage: an online stage.
        models: path of a model below the stage, such as ``grpo.rewards[0].rewardModel`` -> its local folder.
        tokenizer: the policy's tokenizer.
        device: torch device of this process; reward models run on it.
        path: path of the stage in the manifest, for messages.

    Raises:
        ConfigurationError: a term is wrong in a way that the manifest's schema cannot say.
    """
    path = path or f"spec.stages[{stage.name}]"
    made = []
    for index, term in enumerate(_terms(stage)):
        below = f"{stage.method}.rewards[{index}]"
        scorer = make_scorer(term, Surroundings(stage, below, models, tokenizer, device))
        made.append(RewardFunction(term.name, f"{path}.{below}", scorer))
    return made


def weights(stage: Stage) -> list[float]:
    """The weights of the stage's rewards, in the order of `functions`."""
    return [term.weight for term in _terms(stage)]


def make_scorer(term: Reward, surroundings: Surroundings) -> Scorer:
    """What computes ``term``."""
    (member,) = (name for name in Reward.one_of if getattr(term, name) is not None)
    return _SCORERS[member](term, surroundings)


def _format(term: Reward, _: Surroundings) -> Scorer:
    if term.format is None:
        raise ValueError(term.name)
    if term.format.pattern is not None:
        return PatternScorer(term.format.pattern, term.timeout_seconds)
    return XmlTagsScorer(term.format.xml_tags or [])


def _length(term: Reward, surroundings: Surroundings) -> Scorer:
    if term.length is None:
        raise ValueError(term.name)
    return LengthScorer(term.length, surroundings.tokenizer)


def _repetition(term: Reward, _: Surroundings) -> Scorer:
    if term.repetition is None:
        raise ValueError(term.name)
    return RepetitionScorer(term.repetition)


_SCORERS: Final[Mapping[str, Callable[[Reward, Surroundings], Scorer]]] = {
    "format": _format,
    "length": _length,
    "repetition": _repetition,
}


def _terms(stage: Stage) -> list[Reward]:
    if stage.online is None:
        raise ValueError(f"stage {stage.name} does not learn from rewards")
    return stage.online.rewards
