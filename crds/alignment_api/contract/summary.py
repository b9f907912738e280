"""What a Pod says when it ends: the termination message, JSON of at most 4 KB."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from ..v1alpha1.base import ApiModel
from ..v1alpha1.status import CandidateStatus, DataStatus, GateStatus, ModelStatus, PromotionResult
from .progress import CheckpointMark, Progress

MAX_SUMMARY_BYTES: Final = 4096
"""The kubelet cuts termination messages at this length."""


class Problem(ApiModel):
    """Something the user must change."""

    field: Annotated[str, Field(max_length=512)] = Field(
        description="Path in the manifest, such as `spec.stages[2].dataset`."
    )
    message: Annotated[str, Field(max_length=2048)] = Field(description="What is wrong and the way out.")

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class StageData(ApiModel):
    """Numbers of one stage's data report."""

    stage: Annotated[str, Field(max_length=63)]
    data: DataStatus


class Summary(ApiModel):
    """How the container ended; rank 0 of a gang, and Prepare, fill in the results."""

    exit_code: int
    message: Annotated[str, Field(max_length=2048)] = ""
    problems: Annotated[list[Problem], Field(max_length=20)] = Field(
        default_factory=list, description="Data and configuration errors, the first ones if they are many."
    )
    data: Annotated[list[StageData], Field(max_length=16)] | None = Field(
        default=None, description="Prepare: numbers of every stage's data."
    )
    output: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="The end of the output, of a container that failed without saying all in its message."
    )
    progress: Progress | None = Field(default=None, description="The last numbers of a training stage.")
    checkpoint: CheckpointMark | None = None
    model: ModelStatus | None = None
    gates: Annotated[list[GateStatus], Field(max_length=16)] | None = None
    candidates: Annotated[list[CandidateStatus], Field(max_length=8)] | None = None
    promotion: PromotionResult | None = None
    report: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="The job's report, relative to the workspace, if one was written."
    )

    def to_termination_message(self) -> str:
        """The summary as JSON that fits a termination message; problems and long texts are cut first, results last."""
        summary = self
        while True:
            text = summary.model_dump_json(by_alias=True, exclude_none=True)
            if len(text.encode()) <= MAX_SUMMARY_BYTES:
                return text
            summary = _shortened(summary)


def _shortened(summary: Summary) -> Summary:
    """The summary with less of whatever is least missed."""
    if len(summary.output) > 64:
        return summary.model_copy(update={"output": summary.output[len(summary.output) // 2 :]})
    if summary.output:
        return summary.model_copy(update={"output": ""})
    if len(summary.problems) > 1:
        return summary.model_copy(update={"problems": summary.problems[: len(summary.problems) // 2]})
    if len(summary.message) > 64:
        return summary.model_copy(update={"message": summary.message[: len(summary.message) // 2] + "..."})
    if summary.problems and len(summary.problems[0].message) > 64:
        first = summary.problems[0]
        cut = first.model_copy(update={"message": first.message[: len(first.message) // 2] + "..."})
        return summary.model_copy(update={"problems": [cut]})
    if summary.progress and summary.progress.metrics:
        kept = dict(list(summary.progress.metrics.items())[: len(summary.progress.metrics) // 2])
        return summary.model_copy(update={"progress": summary.progress.model_copy(update={"metrics": kept})})
    if summary.data:
        return summary.model_copy(update={"data": _with_less_detail(summary.data)})
    if summary.gates and (shorter := [_shorter(gate) for gate in summary.gates]) != summary.gates:
        return summary.model_copy(update={"gates": shorter})
    if summary.problems or summary.progress:
        return summary.model_copy(update={"problems": [], "progress": None})
    if summary.candidates:
        return summary.model_copy(update={"candidates": None})
    return summary.model_copy(update={"gates": None})


def _shorter(gate: GateStatus) -> GateStatus:
    """The gate without its message and with numbers of six digits; all of it is in the evaluation's report."""
    numbers = {name: getattr(gate, name) for name in ("value", "lower", "upper")}
    rounded = {name: None if value is None else float(f"{value:.6g}") for name, value in numbers.items()}
    return gate.model_copy(update={"message": None, **rounded})


_DETAILS: Final = (
    "near_identical_rows",
    "truncated_tokens",
    "leaked_rows",
    "duplicate_rows",
    "desirable_fraction",
    "chosen_longer_fraction",
    "dropped_rows",
    "cached",
    "report",
)
"""Optional numbers of data, the one least missed first; all of them are in the report, whose place follows from the
job's name."""


def _with_less_detail(data: list[StageData]) -> list[StageData] | None:
    """The numbers of every stage without one that they can do without; None if there is no such number left."""
    name = next((name for name in _DETAILS if any(getattr(entry.data, name) is not None for entry in data)), None)
    if name is None:
        return None
    return [entry.model_copy(update={"data": entry.data.model_copy(update={name: None})}) for entry in data]
