"""Conditions on what was measured, which decide on promotion."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from ..base import ApiModel, CelRule, DnsLabel


class GateMetric(StrEnum):
    """What a gate can be set on."""

    WIN_RATE = "winRate"
    LENGTH_CONTROLLED_WIN_RATE = "lengthControlledWinRate"
    PREFERENCE_ACCURACY = "preferenceAccuracy"
    PREFERENCE_MARGIN = "preferenceMargin"
    KL = "kl"
    SCORE = "score"
    RESPONSE_TOKENS = "responseTokens"
    FINISHED = "finished"
    REFUSALS = "refusals"
    REPETITION = "repetition"
    DISTINCT_1 = "distinct1"
    DISTINCT_2 = "distinct2"
    DISTINCT_3 = "distinct3"
    SELF_SIMILARITY = "selfSimilarity"
    RESPONSE_PERPLEXITY = "responsePerplexity"
    PERPLEXITY = "perplexity"
    TASK = "task"
    CLASSIFIER = "classifier"


COMPARATIVE_METRICS: Final = frozenset(
    {
        GateMetric.WIN_RATE,
        GateMetric.LENGTH_CONTROLLED_WIN_RATE,
        GateMetric.PREFERENCE_ACCURACY,
        GateMetric.PREFERENCE_MARGIN,
        GateMetric.KL,
    }
)
"""Metrics that compare the candidate with the baseline already."""

JUDGED_METRICS: Final = frozenset({GateMetric.WIN_RATE, GateMetric.LENGTH_CONTROLLED_WIN_RATE, GateMetric.SCORE})
NAMED_METRICS: Final = frozenset({GateMetric.PERPLEXITY, GateMetric.TASK, GateMetric.CLASSIFIER})
"""Metrics of which there is one for each text, task or classifier."""


class RelativeTo(StrEnum):
    """How a metric of the candidate is set against the baseline's."""

    DIFFERENCE = "difference"
    RATIO = "ratio"


def _one_of_metrics(metrics: frozenset[GateMetric]) -> str:
    return "self.metric in [" + ", ".join(f"'{metric}'" for metric in sorted(metrics)) + "]"


Bound = Annotated[float, Field(ge=-1e12, le=1e12)]


class Gate(ApiModel):
    """A condition on a metric, which must hold for a candidate to be promoted."""

    one_of: ClassVar[tuple[str, ...]] = ("at_least", "at_most")
    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            f"!has(self.judge) || {_one_of_metrics(JUDGED_METRICS)}",
            "judge is only for the metrics winRate, lengthControlledWinRate and score: remove it or change the metric",
        ),
        CelRule(
            f"has(self.measure) == ({_one_of_metrics(NAMED_METRICS)})",
            "measure names the text, task or classifier of the metrics perplexity, task and classifier: set it for "
            "those, and only for those",
        ),
        CelRule(
            f"!has(self.relativeToBaseline) || !({_one_of_metrics(COMPARATIVE_METRICS)})",
            "the metric compares with the baseline already: remove relativeToBaseline",
        ),
    )

    metric: GateMetric = Field(
        description="`winRate`: wins plus half the ties of the candidate over the baseline, by a judge. "
        "`lengthControlledWinRate`: the same, had both answered at equal length (arXiv:2404.04475). "
        "`preferenceAccuracy`: how often, on held-out pairs, the candidate raises the chosen over the rejected "
        "response relative to the baseline; `preferenceMargin`: by how many nats. "
        "`kl`: divergence of the candidate from the baseline on its own responses, in nats per token. "
        "`score`: mean score of a judge. `responseTokens`: mean length. `finished`, `refusals`: shares of the "
        "responses that the model ended itself, or that refuse. `repetition`: share of 4-grams that occurred before "
        "in a response. `distinct1` to `distinct3`: different n-grams of a response over all of them. "
        "`selfSimilarity`: of responses to different prompts. `responsePerplexity`: of the responses under the "
        "baseline. `perplexity`, `task`, `classifier`: of the `measure`."
    )
    judge: DnsLabel | None = Field(default=None, description="Judge of the metric. Unset: the first judge.")
    measure: DnsLabel | None = Field(
        default=None, description="Name of the text, task or classifier that the metric is of."
    )
    relative_to_baseline: RelativeTo | None = Field(
        default=None, description="Compare with the baseline's value: `difference` or `ratio`. Unset: the value itself."
    )
    at_least: Bound | None = Field(default=None, description="The metric must reach this value.")
    at_most: Bound | None = Field(default=None, description="The metric must not exceed this value.")
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)] | None = Field(
        default=None,
        description="Require the worse bound of the two-sided interval at this confidence, not the point, to hold: the "
        "lower one for `atLeast`, the upper one for `atMost`. A candidate no better than the bound then passes in at "
        "most (1 - confidence) / 2 of all evaluations.",
    )
