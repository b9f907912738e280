"""The job's report as numbers and texts: the content of ``report.json``, from which the page is made."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from alignment_api.contract import JobReference, Problem
from alignment_api.v1alpha1 import PromotionResult
from alignment_api.v1alpha1.base import ApiModel

from ..evaluation.results import EvaluationResults


class State(StrEnum):
    """Where the job, a stage or an attempt is, as far as the workspace tells."""

    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    STOPPED = "Stopped"
    FAILED = "Failed"
    LOST = "Lost"


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(ApiModel):
    """Something that a reader of the report must know."""

    severity: Severity
    stages: list[str] = Field(default_factory=list, description="None: of the whole job.")
    text: str
    evidence: str | None = Field(default=None, description="Folder with more about it, relative to the workspace.")


class NodeKind(StrEnum):
    """What a node of the pipeline is."""

    MODEL = "model"
    STAGE = "stage"
    PROMOTION = "promotion"


class Node(ApiModel):
    """A model that the pipeline starts from, a stage, or a place that a model is promoted to."""

    id: str
    kind: NodeKind
    label: str
    detail: str = Field(default="", description="The method of a stage, the kind of any other.")
    state: State | None = None


class Edge(ApiModel):
    """What one node takes from another."""

    source: str
    target: str
    label: str = Field(description="What it is used as, such as `model` or `baseline`.")
    main: bool = Field(description="Whether it is what the target works on, rather than what it compares with.")


class Graph(ApiModel):
    """The pipeline."""

    nodes: list[Node] = Field(default_factory=list)
    edges: list[Edge] = Field(default_factory=list)


class Attempt(ApiModel):
    """One attempt at a stage."""

    number: int
    state: State
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float = 0.0
    nodes: int = 1
    gpus_per_node: int = 0
    resumed_from: int | None = Field(default=None, description="Step of the checkpoint it went on from; 0: from none.")
    last_step: int | None = None
    lost_steps: int = Field(default=0, description="Steps it had done that the next attempt had to do again.")
    reason: str | None = None
    message: str = ""
    pod: str | None = None
    node: str | None = None
    evidence: str | None = Field(default=None, description="Folder relative to the workspace.")


Point = tuple[int, float]
"""A step and a value."""


class Series(ApiModel):
    """The values of one metric over the steps of a stage, thinned so that extremes stay."""

    name: str
    points: list[Point]
    reports: int = Field(description="How often it was reported, of steps that count.")
    latest: float
    lowest: float
    highest: float


class Curve(ApiModel):
    """One chart: a metric, and the same on held-out rows where there is one."""

    name: str
    series: list[Series]


class Restart(ApiModel):
    """Where an attempt went on."""

    attempt: int
    step: int = Field(description="The first step it did anew is the next one.")
    text: str


class QualityLimit(ApiModel):
    """A flaw that the stage's rows were searched for."""

    field: str
    counts: str
    rows: int
    of: int
    fraction: float
    limit: float | None = None


class DataReport(ApiModel):
    """Numbers of a stage's data; the whole report is at ``path``."""

    source: str = ""
    format: str | None = None
    rows: int = 0
    train_rows: int = 0
    eval_rows: int = 0
    invalid_rows: int = 0
    dropped_rows: int = 0
    duplicate_rows: int = 0
    leaked_rows: int | None = None
    near_identical_rows: int | None = None
    tokens: int = 0
    truncated_rows: int = 0
    chosen_longer_fraction: float | None = None
    desirable_fraction: float | None = None
    cached: bool = False
    dropped: list[tuple[int, str]] = Field(default_factory=list, description="Rows left out, and why.")
    limits: list[QualityLimit] = Field(default_factory=list)
    path: str


class Response(ApiModel):
    """One model's answer to a sample's prompt."""

    model: str
    text: str
    cut: bool = Field(default=False, description="Whether only its beginning is here.")
    tokens: int | None = None
    finish_reason: str | None = Field(default=None, description="`length`: it was cut off at the length limit.")


class Judgement(ApiModel):
    """What a judge said of a candidate's response, set against the baseline's."""

    judge: str
    candidate: str
    outcome: float | None = Field(description="1 a win, 0.5 a tie, 0 a loss; None without a verdict.")
    score: float | None = None
    baseline_score: float | None = None
    reason: str | None = None


class Sample(ApiModel):
    """A prompt with every model's response."""

    prompt_number: int = Field(description="Number of its record in responses.jsonl, from 0.")
    chosen_as: Literal["changed", "random"]
    similarity: float | None = Field(default=None, description="Of the most changed candidate to the baseline.")
    prompt: list[tuple[str, str]] = Field(description="Roles and contents.")
    responses: list[Response] = Field(description="The baseline's first, then the chosen candidate's.")
    judgements: list[Judgement] = Field(default_factory=list)


class EvaluationReport(ApiModel):
    """What an evaluate stage found."""

    results: EvaluationResults
    samples: list[Sample] = Field(default_factory=list)
    responses: str | None = Field(default=None, description="All responses, relative to the workspace.")


class StageCost(ApiModel):
    """What a stage has cost so far, over all attempts."""

    node_hours: float = 0.0
    gpu_hours: float = 0.0
    lost_steps: int = 0
    restarts: int = 0
    tokens: int = 0


class ModelResult(ApiModel):
    """The model that a stage made."""

    path: str
    digest: str | None = None
    bytes: int = 0


class StageReport(ApiModel):
    """One stage."""

    name: str
    method: str
    state: State
    started_at: datetime | None = None
    ended_at: datetime | None = None
    step: int = 0
    total_steps: int = 0
    attempts: list[Attempt] = Field(default_factory=list)
    curves: list[Curve] = Field(default_factory=list)
    curves_left_out: list[str] = Field(default_factory=list, description="Metrics of which there are no curves here.")
    restarts: list[Restart] = Field(default_factory=list)
    data: DataReport | None = None
    evaluation: EvaluationReport | None = None
    model: ModelResult | None = None
    cost: StageCost = Field(default_factory=StageCost)
    settings: dict[str, str] = Field(default_factory=dict, description="Options that somebody chose, by TRL's names.")
    seed: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class Lineage(ApiModel):
    """Where the job's models come from."""

    bases: dict[str, str] = Field(default_factory=dict, description="Model -> its folder, which names a commit.")
    digests: dict[str, str] = Field(default_factory=dict, description="What was made -> digest of its weights.")
    statement: dict[str, Any] | None = Field(default=None, description="lineage.json of the promoted model.")
    path: str | None = Field(default=None, description="lineage.json, relative to the workspace.")


class JobReport(ApiModel):
    """The whole report."""

    version: Literal[1] = 1
    job: JobReference
    state: State
    written_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    image: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    problems: list[Problem] = Field(default_factory=list, description="Why Prepare or the promotion failed.")
    promotion: PromotionResult | None = None
    findings: list[Finding] = Field(default_factory=list)
    graph: Graph = Field(default_factory=Graph)
    stages: list[StageReport] = Field(default_factory=list)
    cost: StageCost = Field(default_factory=StageCost)
    lineage: Lineage = Field(default_factory=Lineage)
