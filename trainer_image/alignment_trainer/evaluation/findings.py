"""What an evaluation found, before anything is made of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..data.rows import Messages, Pair
from .judges.llm import Costs
from .judges.verdicts import Verdict
from .measurement import Measurement
from .responses import Likelihood, Response


@dataclass
class Findings:
    """What an evaluation found.

    Attributes:
        prompts: the held-out prompts.
        pairs: the held-out pairs of responses, if the data has them.
        candidates: names of the candidates, in the order of the manifest.
        responses: model -> its response to each prompt.
        preferences: model -> for each pair, the log-probability of the chosen response less that of the other.
        own: candidate -> how likely it finds each of its responses, unless it has another vocabulary than the baseline.
        under_baseline: model -> how likely the baseline finds each of the model's responses.
        scores: judge -> model -> the score of each response, of judges that give scores.
        verdicts: judge -> candidate -> the verdict on each prompt, of judges that compare; on rank 0 alone.
        costs: judge -> what its verdicts cost; on rank 0 alone.
        measured: what else was measured, of all candidates.
    """

    prompts: Sequence[Messages]
    pairs: Sequence[Pair]
    candidates: Sequence[str]
    responses: dict[str, list[Response]] = field(default_factory=dict)
    preferences: dict[str, list[float]] = field(default_factory=dict)
    own: dict[str, list[Likelihood]] = field(default_factory=dict)
    under_baseline: dict[str, list[Likelihood]] = field(default_factory=dict)
    scores: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    verdicts: dict[str, dict[str, list[Verdict]]] = field(default_factory=dict)
    costs: dict[str, Costs] = field(default_factory=dict)
    measured: list[Measurement] = field(default_factory=list)
