"""What the operator reports: conditions, and progress of every stage."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainSerializer

from .base import ApiModel, DnsLabel, StageName

Message = Annotated[str, Field(max_length=4096)]
Reason = Annotated[str, Field(max_length=128)]
Path = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

Timestamp = Annotated[
    datetime, PlainSerializer(lambda time: time.replace(microsecond=0), return_type=datetime, when_used="json")
]
"""An instant, written in whole seconds as everywhere in Kubernetes."""


class JobPhase(StrEnum):
    """Where a job is, in one word for people; programs read conditions."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


TERMINAL_JOB_PHASES = frozenset({JobPhase.SUCCEEDED, JobPhase.FAILED})


class StagePhase(StrEnum):
    """Where a stage is."""

    WAITING = "Waiting"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    CHECKPOINTING = "Checkpointing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


TERMINAL_STAGE_PHASES = frozenset({StagePhase.SUCCEEDED, StagePhase.FAILED, StagePhase.SKIPPED})


class Condition(ApiModel):
    """A condition, as in metav1.Condition."""

    list_map_key: ClassVar[str | None] = "type"

    type: Annotated[str, Field(max_length=64)] = Field(description="Type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Reason = Field(description="One CamelCase word for programs.")
    message: Message = Field(default="", description="What happened and what to do, for people.")
    last_transition_time: Timestamp = Field(description="When `status` last changed.")
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The metadata.generation this condition was decided from."
    )


class StageProgress(ApiModel):
    """How far a stage is, as its rank 0 last reported."""

    attempt: Annotated[int, Field(ge=1)] = Field(description="The attempt that reported these numbers.")
    step: Annotated[int, Field(ge=0)] = Field(description="Optimizer steps done, over all attempts.")
    total_steps: Annotated[int, Field(ge=0)] = Field(description="Optimizer steps of the whole stage.")
    epoch: float | None = Field(default=None, description="Passes over the data done.")
    percent: Annotated[int, Field(ge=0, le=100)] = Field(description="Share of the steps done.")
    tokens_per_second: float | None = Field(
        default=None, description="Tokens per second over all processes, since this attempt began stepping."
    )
    eta_seconds: Annotated[int, Field(ge=0)] | None = Field(default=None, description="Estimated seconds to the end.")
    updated_at: Timestamp = Field(description="When the trainer wrote these numbers.")


class CheckpointStatus(ApiModel):
    """The newest complete checkpoint."""

    step: Annotated[int, Field(ge=0)] = Field(description="Optimizer step it was taken at.")
    path: Path = Field(description="Folder, relative to the workspace.")
    time: Timestamp = Field(description="When it became complete.")


class DataStatus(ApiModel):
    """Numbers of the stage's data report; the whole report is in the workspace."""

    rows: Count = Field(description="Rows read.")
    train_rows: Count = Field(description="Rows trained on.")
    eval_rows: Count = Field(description="Rows held out.")
    invalid_rows: Count = Field(description="Rows dropped as invalid.")
    truncated_rows: Count = Field(description="Rows longer than maxLength, of those trained on.")
    tokens: Count = Field(description="Tokens in the training rows, before truncation.")
    dropped_rows: Count | None = Field(default=None, description="Valid rows dropped because `quality` says so.")
    duplicate_rows: Count | None = Field(default=None, description="Valid rows that repeat an earlier one.")
    near_identical_rows: Count | None = Field(
        default=None, description="Pairs whose responses differ only in case, spaces and punctuation."
    )
    leaked_rows: Count | None = Field(
        default=None, description="Held-out rows of `evalDataset` whose prompt is trained on too."
    )
    truncated_tokens: Count | None = Field(default=None, description="Tokens of the training rows beyond maxLength.")
    chosen_longer_fraction: Fraction | None = Field(
        default=None, description="Fraction of the pairs whose chosen response is the longer one."
    )
    desirable_fraction: Fraction | None = Field(
        default=None, description="Fraction of the labelled training rows that are good."
    )
    cached: bool | None = Field(
        default=None, description="True: the rows were found prepared by an earlier stage or job with the same data."
    )
    report: Path | None = Field(
        default=None, description="The whole report, relative to the workspace; `data.html` beside it is for people."
    )


class ModelStatus(ApiModel):
    """The model a stage produced."""

    path: Path = Field(description="Folder, relative to the workspace; `AutoModel.from_pretrained` loads it.")
    adapter_path: Path | None = Field(default=None, description="Folder of the adapter alone, if one was trained.")
    digest: Annotated[str, Field(max_length=128)] = Field(description="Digest over the weight files: `sha256:...`.")


class GateStatus(ApiModel):
    """What a gate decided about a candidate."""

    metric: Annotated[str, Field(max_length=64)] = Field(description="The metric.")
    judge: DnsLabel | None = Field(default=None, description="The judge, for metrics of judges.")
    measure: DnsLabel | None = Field(default=None, description="The text, task or classifier it is of.")
    relative_to_baseline: Annotated[str, Field(max_length=16)] | None = Field(
        default=None, description="`difference` or `ratio`, where the value is one to the baseline's."
    )
    passed: bool = Field(description="Whether the gate holds. A metric that could not be computed does not pass.")
    value: float | None = Field(default=None, description="The measured value.")
    lower: float | None = Field(default=None, description="Lower bound of the interval.")
    upper: float | None = Field(default=None, description="Upper bound of the interval.")
    confidence: float | None = Field(
        default=None, description="Confidence of the interval, where its bound had to hold."
    )
    at_least: float | None = Field(default=None, description="The value to reach.")
    at_most: float | None = Field(default=None, description="The value not to exceed.")
    samples: Annotated[int, Field(ge=0)] = Field(default=0, description="Prompts, pairs or documents measured on.")
    message: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Why the metric could not be computed."
    )


class CandidateStatus(ApiModel):
    """What an evaluate stage found of one of its candidates."""

    list_map_key: ClassVar[str | None] = "name"

    name: DnsLabel = Field(description="Name of the candidate.")
    passed_gates: Count = Field(description="Gates that hold for it.")
    value: float | None = Field(default=None, description="Its value of the first gate's metric.")
    chosen: bool = Field(default=False, description="The best one; the stage's `gates` and `metrics` are of it.")


class PromotionResult(ApiModel):
    """What was promoted, and where it is."""

    candidate: DnsLabel = Field(description="Name of the candidate.")
    model: ModelStatus = Field(description="The model in the workspace.")
    locations: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=8)] = Field(
        default_factory=list,
        description="Where it was put, in the order of `promotion.to`: a path in the workspace, `s3://...`, "
        "`https://huggingface.co/...` with the commit, `oci://...@sha256:...`.",
    )
    lineage: Path | None = Field(
        default=None, description="Its lineage, an in-toto statement, relative to the workspace."
    )


class ResolvedModel(ApiModel):
    """What a `fromJob` reference came to, once the other job was done."""

    list_map_key: ClassVar[str | None] = "field"

    field: Annotated[str, Field(max_length=256)] = Field(description="Path of the reference in the manifest.")
    job: Annotated[str, Field(max_length=253)] = Field(description="Name of the other job.")
    uid: Annotated[str, Field(max_length=64)] = Field(description="UID of the other job.")
    model: ModelStatus = Field(description="The model.")


class AttemptFailure(ApiModel):
    """How an attempt at a stage ended."""

    attempt: Annotated[int, Field(ge=1)] = Field(description="Which attempt.")
    reason: Reason = Field(description="Failure class.")
    message: Message = Field(default="", description="What happened, with the end of the output where it helps.")
    pod: Annotated[str, Field(max_length=253)] | None = Field(default=None, description="The Pod that failed first.")
    node: Annotated[str, Field(max_length=253)] | None = Field(default=None, description="The node it ran on.")
    exit_code: int | None = Field(default=None, description="Exit code of its container.")
    output: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="The end of its output, where the message does not say it all."
    )
    evidence: Path | None = Field(
        default=None,
        description="Folder, relative to the workspace, with each Pod's end of output and each process's stacks.",
    )
    time: Timestamp = Field(description="When the failure was seen.")


class RunStatus(ApiModel):
    """State of what runs in attempts: Prepare, and every stage.

    While ``phase`` is Waiting no attempt is live and ``attempt`` is the number of the last one; numbers are never used
    twice.
    """

    phase: StagePhase = Field(default=StagePhase.WAITING, description="Where it is.")
    attempt: Annotated[int, Field(ge=0)] = Field(default=0, description="Current or last attempt, counted from 1.")
    reason: Reason | None = Field(default=None, description="Why it is in its phase, one word.")
    message: Message | None = Field(default=None, description="Why it is in its phase, for people.")
    start_time: Timestamp | None = Field(default=None, description="When its first attempt was started.")
    attempt_start_time: Timestamp | None = Field(default=None, description="When the current attempt was started.")
    completion_time: Timestamp | None = Field(default=None, description="When it ended.")
    failures: Annotated[list[AttemptFailure], Field(max_length=10)] | None = Field(
        default=None, description="The last ten failed attempts, oldest first."
    )


class PrepareStatus(RunStatus):
    """State of the check of data and configuration that comes before every gang."""


class PromotionStatus(RunStatus):
    """State of the promotion of a candidate whose gates hold."""

    result: PromotionResult | None = Field(default=None, description="What was promoted, once it is.")


class StageStatus(RunStatus):
    """State of one stage."""

    list_map_key: ClassVar[str | None] = "name"

    name: StageName = Field(description="Name of the stage.")
    method: Annotated[str, Field(max_length=32)] = Field(description="Method of the stage.")
    progress: StageProgress | None = Field(default=None, description="How far it is.")
    nodes: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Pods of the current or next attempt, where they are fewer than `runtime.nodes`."
    )
    micro_batch_size: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Micro batch of the current or next attempt, where memory that ran out has halved it.",
    )
    metrics: Annotated[dict[str, float], Field(max_length=64)] | None = Field(
        default=None, description="Latest metrics, by TRL's names, such as `loss` and `rewards/margins`."
    )
    checkpoint: CheckpointStatus | None = Field(default=None, description="Newest complete checkpoint.")
    data: DataStatus | None = Field(default=None, description="Numbers of the data report.")
    model: ModelStatus | None = Field(default=None, description="The model produced.")
    gates: Annotated[list[GateStatus], Field(max_length=16)] | None = Field(
        default=None, description="What each gate decided about the chosen candidate, in the order of the spec."
    )
    candidates: Annotated[list[CandidateStatus], Field(max_length=8)] | None = Field(
        default=None, description="What was found of each candidate, in the order of the spec."
    )


class AlignmentJobStatus(ApiModel):
    """What the operator observed."""

    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The metadata.generation this status was decided from."
    )
    phase: JobPhase | None = Field(default=None, description="Where the job is, for people; programs read conditions.")
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = Field(
        default=None, description="Accepted, Ready, Reconciling, Stalled, Suspended, Complete, Failed, Promoted."
    )
    start_time: Timestamp | None = Field(default=None, description="When the job was accepted.")
    completion_time: Timestamp | None = Field(default=None, description="When the job ended.")
    restarts: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Gangs started again after a failure, over all stages."
    )
    failures: Annotated[dict[Annotated[str, Field(max_length=32)], Count], Field(max_length=16)] | None = Field(
        default=None,
        description="Failed attempts counted against each budget of `runPolicy.retries`, of Prepare and all stages.",
    )
    avoided_nodes: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=64)] | None = Field(
        default=None, description="Nodes that new attempts avoid (`runPolicy.avoidNodeAfterFailures`)."
    )
    node_failures: Annotated[dict[Annotated[str, Field(max_length=253)], Count], Field(max_length=64)] | None = Field(
        default=None, description="Failed attempts that a node is to blame for, by node."
    )
    expiration_time: Timestamp | None = Field(
        default=None, description="When the job's Pods and Jobs were gone after `runPolicy.ttlSecondsAfterFinished`."
    )
    current: CurrentStage | None = Field(default=None, description="The stage at work, for `kubectl get`.")
    prepare: PrepareStatus | None = Field(
        default=None, description="State of the check of data and configuration before the first stage."
    )
    stages: Annotated[list[StageStatus], Field(max_length=16)] | None = Field(
        default=None, description="State of each stage, in the order of the spec."
    )
    promotion: PromotionStatus | None = Field(default=None, description="State of the promotion, if there is one.")
    models: Annotated[list[ResolvedModel], Field(max_length=64)] | None = Field(
        default=None, description="What the references to other jobs (`fromJob`) came to."
    )
    report: Path | None = Field(
        default=None,
        description="The job's report, relative to the workspace: one HTML file; `report.json` beside it is for "
        "programs. The operator serves both.",
    )


class CurrentStage(ApiModel):
    """The stage at work, in the form that printer columns can show."""

    stage: StageName | None = Field(default=None, description="Name of the stage.")
    method: Annotated[str, Field(max_length=32)] | None = Field(default=None, description="Its method.")
    step: Annotated[str, Field(max_length=32)] | None = Field(default=None, description="Steps done of all: `120/500`.")
    loss: Annotated[str, Field(max_length=32)] | None = Field(default=None, description="Latest loss.")
    eta: Annotated[str, Field(max_length=32)] | None = Field(default=None, description="Estimated time to its end.")


AlignmentJobStatus.model_rebuild()
