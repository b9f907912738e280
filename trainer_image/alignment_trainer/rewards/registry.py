"""From the terms of a stage's reward to functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic.alias_generators import to_camel

from alignment_api.contract import Problem, token_variable
from alignment_api.v1alpha1 import ModelSource, Stage
from alignment_api.v1alpha1.base import set_members
from alignment_api.v1alpha1.methods import Reward
from alignment_api.v1alpha1.methods.rewards import (
    ExactAnswerReward,
    FormatReward,
    HttpReward,
    JsonSchemaReward,
    LengthReward,
    MathAnswerReward,
    PythonReward,
    RepetitionReward,
)

from ..exceptions import ConfigurationError
from .answers import ExactAnswerScorer
from .form import PatternScorer, XmlTagsScorer
from .function import RewardFunction
from .http import HttpScorer
from .json_schema import JsonSchemaScorer
from .length import LengthScorer
from .math_answer import MathAnswerScorer
from .python import PythonScorer
from .repetition import RepetitionScorer
from .reward_model import RewardModelScorer
from .scoring import Scorer


@dataclass(frozen=True)
class Surroundings:
    """What scorers are built from besides their own settings.

    Attributes:
        term: the whole term.
        stage: the stage.
        path: path of the stage in the manifest.
        below: path of the term below the stage, such as ``grpo.rewards[0]``.
        models: path of a model below the stage -> its folder.
        tokenizer: the policy's tokenizer.
        device: torch device of this process.
    """

    term: Reward
    stage: Stage
    path: str
    below: str
    models: Mapping[str, str]
    tokenizer: Any
    device: Any

    @property
    def field(self) -> str:
        """Path of the member that is set, in the manifest."""
        return f"{self.path}.{self.below}.{to_camel(member_of(self.term))}"


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
    everything = surroundings(stage, models, tokenizer, device, path or f"spec.stages[{stage.name}]")
    return [make_function(around) for around in everything]


def surroundings(
    stage: Stage, models: Mapping[str, str], tokenizer: Any, device: Any, path: str
) -> Iterator[Surroundings]:
    """What each term of the stage's reward is built from, in the manifest's order; arguments as of `functions`."""
    for index, term in enumerate(terms(stage)):
        yield Surroundings(term, stage, path, f"{stage.method}.rewards[{index}]", models, tokenizer, device)


def make_function(around: Surroundings) -> RewardFunction:
    """The function of one term.

    Raises:
        ConfigurationError: the term is wrong in a way that the manifest's schema cannot say.
    """
    member = member_of(around.term)
    try:
        scorer = _SCORERS[member](getattr(around.term, member), around)
    except ValueError as error:
        message = f"reward {around.term.name!r}: {error}"
        raise ConfigurationError(message, [Problem(field=around.field, message=message[:2048])]) from error
    return RewardFunction(around.term.name, around.field, scorer)


def weights(stage: Stage) -> list[float]:
    """The weights of the stage's rewards, in the order of `functions`."""
    return [term.weight for term in terms(stage)]


def member_of(term: Reward) -> str:
    """Name of the one member that is set."""
    (member,) = set_members(term, Reward.one_of)
    return member


def _format(settings: FormatReward, around: Surroundings) -> Scorer:
    if settings.pattern is not None:
        return PatternScorer(settings.pattern, around.term.timeout_seconds)
    return XmlTagsScorer(settings.xml_tags or [])


def _exact_answer(settings: ExactAnswerReward, around: Surroundings) -> Scorer:
    return ExactAnswerScorer(settings, around.term.timeout_seconds)


def _math_answer(settings: MathAnswerReward, around: Surroundings) -> Scorer:
    return MathAnswerScorer(settings.column, around.term.timeout_seconds)


def _length(settings: LengthReward, around: Surroundings) -> Scorer:
    return LengthScorer(settings, around.tokenizer)


def _repetition(settings: RepetitionReward, _: Surroundings) -> Scorer:
    return RepetitionScorer(settings)


def _json_schema(settings: JsonSchemaReward, _: Surroundings) -> Scorer:
    return JsonSchemaScorer(settings.json_schema)


def _python(settings: PythonReward, around: Surroundings) -> Scorer:
    return PythonScorer(settings, around.term.timeout_seconds)


def _reward_model(_: ModelSource, around: Surroundings) -> Scorer:
    batch_size = around.stage.training.micro_batch_size
    return RewardModelScorer(around.models[f"{around.below}.rewardModel"], around.device, batch_size, around.field)


def _http(settings: HttpReward, around: Surroundings) -> Scorer:
    token = None
    if settings.token_secret_ref is not None:
        variable = token_variable(settings.token_secret_ref)
        if variable not in os.environ:
            raise ValueError(f"there is no environment variable {variable} with the value of tokenSecretRef")
        token = os.environ[variable].strip()
    return HttpScorer(settings.url, token, around.term.timeout_seconds)


_SCORERS: Final[Mapping[str, Callable[[Any, Surroundings], Scorer]]] = {
    "format": _format,
    "exact_answer": _exact_answer,
    "math_answer": _math_answer,
    "length": _length,
    "repetition": _repetition,
    "json_schema": _json_schema,
    "python": _python,
    "reward_model": _reward_model,
    "http": _http,
}
"""Member of a term -> what makes its scorer, from the member and its surroundings."""


def terms(stage: Stage) -> list[Reward]:
    """The terms of the stage's reward.

    Raises:
        ValueError: it is no online stage.
    """
    if stage.online is None:
        raise ValueError(f"stage {stage.name} does not learn from rewards")
    return stage.online.rewards
