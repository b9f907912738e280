"""The passes over responses: judges that give scores, and classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from alignment_api.v1alpha1 import Judge, Tokenizer
from alignment_api.v1alpha1.evaluation import Classifier as ClassifierMeasure
from alignment_api.v1alpha1.evaluation import HeuristicJudge

from ..data.rows import Messages, Role, message
from ..models.classifier import Classifier
from ..models.reward_model import RewardModel
from .contestants import identity_of
from .gang import Gang, Kept
from .judges import heuristic
from .loaded import on_demand
from .measures import classifier as classifier_measure
from .measures.units import Unit
from .passes import characters
from .responses import Response

Responses = Mapping[str, Sequence[Response]]
"""Model -> its responses."""


def reward_scores(
    judge: Judge,
    folder: Path,
    overrides: Tokenizer,
    field: str,
    prompts: Sequence[Messages],
    responses: Responses,
    batch_size: int,
    gang: Gang,
) -> dict[str, list[float]]:
    """A reward model's score of every response, by the model that answered.

    Args:
        judge: the judge.
        folder: its model.
        overrides: tokenizer settings of that model.
        field: path of the model in the manifest, for errors.
        prompts: the prompts.
        responses: the responses to them.
        batch_size: responses of a batch.
        gang: the processes.

    Raises:
        ConfigurationError: it is no reward model, or its rewards are not finite.
    """
    settings = {"model": identity_of(folder), "tokenizer": overrides.to_yaml_dict()}

    with on_demand(lambda: RewardModel(str(folder), overrides, gang.device, field)) as model:

        def score(_: int, answered: Sequence[tuple[Messages, str]]) -> list[float]:
            return model().scores([[*prompt, message(Role.ASSISTANT, text)] for prompt, text in answered])

        return {
            name: gang.share(
                [(prompt, answer.text) for prompt, answer in zip(prompts, answers, strict=True)],
                batch_size,
                score,
                kept=Kept(f"scores-{judge.name}-{name}", settings),
                size=lambda item: characters(item[0]) + len(item[1]),
            )
            for name, answers in responses.items()
        }


def heuristic_scores(judge: HeuristicJudge, responses: Responses) -> dict[str, list[float]]:
    """A heuristic judge's score of every response, by the model that answered."""
    return {name: [heuristic.score(answer, judge) for answer in answers] for name, answers in responses.items()}


def classified(
    measure: ClassifierMeasure, folder: Path, field: str, responses: Responses, batch_size: int, gang: Gang
) -> dict[str, list[Unit]]:
    """What a classifier says of every response, by the model that answered.

    Raises:
        ConfigurationError: it has no such label, or its probabilities are not finite.
    """
    identity = identity_of(folder)
    with on_demand(lambda: Classifier(str(folder), measure.label, gang.device, field)) as model:
        return {
            name: classifier_measure.measure(
                name, model, identity, measure, [answer.text for answer in answers], batch_size, gang
            )
            for name, answers in responses.items()
        }
