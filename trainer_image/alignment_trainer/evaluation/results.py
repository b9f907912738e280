"""What an evaluate stage found: the content of ``<stage>/report/evaluation.json``.

The job's report and the promotion read it; ``responses.jsonl`` and ``responses.parquet`` beside it hold one record for
each prompt (`records`). Imports none of the training stack.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from pydantic import Field

from alignment_api.v1alpha1 import GateStatus
from alignment_api.v1alpha1.base import ApiModel
from alignment_api.v1alpha1.evaluation import Generation

RESULTS: Final = "evaluation.json"
RESPONSES: Final = "responses.jsonl"
RESPONSES_TABLE: Final = "responses.parquet"

CONFIDENCE: Final = 0.95
"""Coverage of the intervals of `MetricResult`."""


class Number(ApiModel):
    """A measured number with its interval; None where it is not finite or could not be had."""

    value: float | None = None
    lower: float | None = None
    upper: float | None = None


class MetricResult(ApiModel):
    """One metric of one candidate."""

    metric: str = Field(description="A GateMetric.")
    of: str | None = Field(default=None, description="The judge, text, task or classifier.")
    own: Number = Field(default_factory=Number, description="The candidate's; of comparisons, the comparison's.")
    baseline: Number | None = Field(default=None, description="The baseline's; None for metrics that compare.")
    difference: Number | None = Field(default=None, description="Candidate minus baseline, on the same units.")
    samples: int = Field(default=0, description="Prompts, pairs, documents or questions measured on.")
    problem: str | None = Field(default=None, description="Why it could not be computed.")


class Tally(ApiModel):
    """Outcomes of a judge's comparisons, from the candidate's side."""

    judge: str
    wins: int
    ties: int
    losses: int
    without_verdict: int = Field(default=0, description="Prompts on which the judge gave no verdict.")


class Agreement(ApiModel):
    """How far two judges agree about a candidate."""

    judges: tuple[str, str]
    kappa: Number = Field(description="Cohen's kappa over win, tie and loss.")
    samples: int = Field(description="Prompts on which both gave a verdict.")


class ChangedPrompt(ApiModel):
    """A prompt whose response changed much from baseline to candidate."""

    prompt: int = Field(description="Number of its record in responses.jsonl, from 0.")
    similarity: float = Field(description="Of the two responses: 0 nothing in common, 1 the same.")


class ModelResult(ApiModel):
    """A model that was evaluated."""

    name: str = Field(description="`baseline`, or the candidate's name.")
    path: str = Field(description="Its folder, relative to the workspace.")
    adapter_path: str | None = Field(default=None, description="Folder of the adapter alone, if a stage trained one.")
    digest: str | None = Field(
        default=None, description="`sha256:...` over its weight files, if a stage of this job exported it."
    )
    response_tokens: int = Field(description="Tokens of all its responses.")


class CandidateResult(ModelResult):
    """A candidate and what was found of it."""

    chosen: bool
    passed: bool | None = Field(description="Whether all gates hold; None if there are none.")
    metrics: list[MetricResult]
    gates: list[GateStatus]
    tallies: list[Tally]
    agreements: list[Agreement] = Field(default_factory=list)
    changed: list[ChangedPrompt] = Field(
        default_factory=list, description="Prompts whose responses changed most, the most changed first."
    )


class JudgeResult(ApiModel):
    """A judge, and what asking it cost over all attempts."""

    name: str
    kind: str = Field(description="`rewardModel`, `llm` or `heuristic`.")
    calls: int | None = Field(default=None, description="Of language models alone: requests sent.")
    tokens_in: int | None = Field(default=None, description="Tokens of the requests, as the endpoint counts.")
    tokens_out: int | None = Field(default=None, description="Tokens of the answers.")
    reused: int | None = Field(default=None, description="Answers that were known already.")
    inconsistent: float | None = Field(
        default=None, description="Share of comparisons judged otherwise once the responses were exchanged."
    )
    first_place: float | None = Field(
        default=None, description="Share of the first response among those preferred; 0.5 of a judge without bias."
    )
    problems: list[str] = Field(default_factory=list, description="Why there are comparisons without a verdict.")


class Cost(ApiModel):
    """What a part of the evaluation took."""

    part: str
    items: int = Field(description="Prompts, responses, pairs or documents.")
    seconds: float = Field(description="Summed over processes and attempts, without the loading of models.")


class EvaluationResults(ApiModel):
    """What an evaluate stage found."""

    stage: str
    attempt: int
    prompts: int
    pairs: int = Field(description="Held-out pairs of chosen and rejected responses.")
    generation: Generation
    engine: str = Field(description="What generated the responses.")
    processes: int
    confidence: float = Field(default=CONFIDENCE, description="Of the intervals of metrics.")
    baseline: ModelResult
    candidates: list[CandidateResult] = Field(description="In the order of the manifest.")
    judges: list[JudgeResult]
    problems: list[str] = Field(default_factory=list, description="What could not be measured, and why.")
    costs: list[Cost]
    seconds: float = Field(description="Of the attempt that completed the evaluation, from start to end.")
    tokens: int = Field(description="Tokens generated, by all models.")

    @property
    def chosen(self) -> CandidateResult:
        """The candidate that the stage's gates and metrics are of."""
        return next(candidate for candidate in self.candidates if candidate.chosen)

    @classmethod
    def load(cls, report: Path) -> Self:
        """The results in a stage's report folder.

        Raises:
            OSError: there are none.
        """
        return cls.model_validate_json((report / RESULTS).read_bytes())
