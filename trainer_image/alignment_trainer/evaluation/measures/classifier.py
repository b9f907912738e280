"""What a sequence classifier says of responses: the probability of one label, such as `toxic`."""

from __future__ import annotations

from collections.abc import Sequence

from alignment_api.v1alpha1.evaluation import Classifier as ClassifierMeasure

from ...models.classifier import Classifier
from ..gang import Gang, Kept
from ..loaded import OnDemand
from .units import Unit


def measure(
    contestant: str,
    model: OnDemand[Classifier],
    identity: str,
    classifier: ClassifierMeasure,
    responses: Sequence[str],
    batch_size: int,
    gang: Gang,
) -> list[Unit]:
    """[probability of the label, 1] of each response, [0, 0] of an empty one; every process must call this.

    Args:
        contestant: name of the model that answered.
        model: the classifier.
        identity: what tells the classifier from others, as `contestants.identity_of` gives it.
        classifier: its settings.
        responses: texts of the responses, without their prompts.
        batch_size: responses of a batch.
        gang: the processes.
    """
    kept = Kept(f"classifier-{classifier.name}-{contestant}", {"model": identity, "label": classifier.label})
    return gang.share(responses, batch_size, lambda _, some: score(model(), some), kept=kept, size=len)


def score(model: Classifier, responses: Sequence[str]) -> list[Unit]:
    """[probability of the label, 1] of each response, run as one batch; [0, 0] of an empty one."""
    there = [response for response in responses if response.strip()]
    probabilities = iter(model.probabilities(there) if there else [])
    return [[next(probabilities), 1] if response.strip() else [0.0, 0] for response in responses]
