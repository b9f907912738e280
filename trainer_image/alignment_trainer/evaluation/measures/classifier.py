"""What a sequence classifier says of responses: the probability of one label, such as `toxic`."""

from __future__ import annotations

from collections.abc import Sequence

from ...models.classifier import Classifier
from .units import Unit


def score(model: Classifier, responses: Sequence[str]) -> list[Unit]:
    """[probability of the label, 1] of each response, run as one batch; [0, 0] of an empty one.

    Args:
        model: the classifier.
        responses: texts of responses, without their prompts.
    """
    there = [response for response in responses if response.strip()]
    probabilities = iter(model.probabilities(there) if there else [])
    return [[next(probabilities), 1] if response.strip() else [0.0, 0] for response in responses]
