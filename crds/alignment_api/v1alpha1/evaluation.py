"""Evaluation of a candidate model against a baseline, and the gates that decide on promotion."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from .base import INT32_MAX, ApiModel, CelRule, DnsLabel
from .model import ModelSource


class Generation(ApiModel):
    """How responses are generated."""

    max_new_tokens: Annotated[int, Field(ge=1, le=65536)] = Field(
        default=256, description="Longest response in tokens."
    )
    temperature: Annotated[float, Field(ge=0, le=5)] = Field(
        default=0.0, description="Sampling temperature; 0 is greedy decoding."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(default=1.0, description="Nucleus sampling mass.")
    batch_size: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=16, description="Prompts generated together by one process."
    )
    seed: Annotated[int, Field(ge=0, le=INT32_MAX)] = Field(default=42, description="Seed of sampling.")


class HeuristicJudge(ApiModel):
    """Judges by form: a response loses for being empty, cut off at the length limit, or repetitive."""

    repetition_limit: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.3,
        description="A response is repetitive when more than this fraction of its 4-grams occurred before in it.",
    )


class Judge(ApiModel):
    """Decides which of two responses to a prompt is better, or that they tie."""

    one_of: ClassVar[tuple[str, ...]] = ("reward_model", "heuristic")
    list_map_key: ClassVar[str | None] = "name"

    name: DnsLabel = Field(description="Name by which gates and reports refer to the judge.")
    reward_model: ModelSource | None = Field(
        default=None, description="A reward model: the response with the higher score wins."
    )
    heuristic: HeuristicJudge | None = Field(default=None, description="Simple rules on the form of the responses.")
    tie_margin: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        default=0.0, description="Scores that differ by no more than this are a tie."
    )


class GateMetric(StrEnum):
    """What a gate can be set on."""

    WIN_RATE = "winRate"
    PREFERENCE_ACCURACY = "preferenceAccuracy"


class Gate(ApiModel):
    """A condition on a metric, which must hold for the candidate to be promoted."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.metric == 'winRate' || !has(self.judge)",
            "judge is only for the metric winRate: remove it or set metric to winRate",
        ),
    )

    metric: GateMetric = Field(
        description="`winRate`: wins plus half the ties of the candidate over the baseline, by a judge. "
        "`preferenceAccuracy`: how often, on held-out pairs, the candidate raises the chosen over the rejected "
        "response relative to the baseline."
    )
    judge: DnsLabel | None = Field(default=None, description="Judge of the win rate. Unset: the first judge.")
    at_least: Annotated[float, Field(ge=0, le=1)] = Field(description="The metric must reach this value.")
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)] | None = Field(
        default=None,
        description="Require the lower bound of the two-sided interval at this confidence, not the point, to reach it.",
    )


class Evaluate(ApiModel):
    """Compares the responses of a candidate and a baseline to the same held-out prompts."""

    candidate: ModelSource = Field(description="The model that may be promoted.")
    baseline: ModelSource = Field(description="The model to compare with.")
    generation: Generation = Field(default_factory=Generation, description="How responses are generated.")
    judges: Annotated[list[Judge], Field(min_length=1, max_length=8)] = Field(description="Who compares responses.")
    gates: Annotated[list[Gate], Field(max_length=16)] = Field(
        default_factory=list,
        description="All must hold for the job's condition Promoted to be true. None: no verdict is given.",
    )
