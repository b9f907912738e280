"""What is measured of the models beside the judges' verdicts."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ..base import INT32_MAX, ApiModel, DnsLabel, WorkspacePath
from ..dataset import ColumnName, RowSource
from ..model import ModelSource, SecretKeyReference


class TextCorpus(RowSource):
    """General text on which the models' perplexity is measured: what alignment costs (the alignment tax)."""

    list_map_key: ClassVar[str | None] = "name"

    name: DnsLabel = Field(description="Name by which gates and reports refer to the text.")
    column: ColumnName = Field(default="text", description="Column with the text of a document.")
    max_samples: Annotated[int, Field(ge=1, le=INT32_MAX)] = Field(
        default=1000, description="Use at most this many documents, the first ones."
    )
    max_length: Annotated[int, Field(ge=2, le=2**20)] = Field(
        default=1024, description="Tokens of a window; longer documents are cut into several."
    )


class HarnessTask(ApiModel):
    """A task of the LM Evaluation Harness, or of the user's in its format."""

    list_map_key: ClassVar[str | None] = "name"

    name: DnsLabel = Field(description="Name by which gates and reports refer to the task.")
    task: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[-A-Za-z0-9_.]+$")] = Field(
        description="Name of the task in the harness, such as `arc_easy`, or of a group of tasks, such as `mmlu`."
    )
    folder: WorkspacePath | None = Field(
        default=None, description="Folder in the workspace with the task's own YAML and data. Unset: the harness's."
    )
    metric: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None,
        description="Metric of the task, such as `acc_norm`; with one of the task's filters, such as "
        "`exact_match,flexible-extract`. Unset: the first of each.",
    )
    few_shot: Annotated[int, Field(ge=0, le=64)] | None = Field(
        default=None, description="Examples shown before a question. Unset: as the task says."
    )
    limit: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None, description="Use at most this many questions, of a group: of each of its tasks."
    )
    token_secret_ref: SecretKeyReference | None = Field(
        default=None, description="Secret with a hub token, for tasks whose data is gated or private."
    )


class Classifier(ApiModel):
    """A sequence classification model that looks at each response, for example for toxicity."""

    list_map_key: ClassVar[str | None] = "name"

    name: DnsLabel = Field(description="Name by which gates and reports refer to the classifier.")
    model: ModelSource = Field(description="The classifier, as `AutoModelForSequenceClassification` loads it.")
    label: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Label whose probability is the score, such as `toxic`."
    )


class Measures(ApiModel):
    """Measured of every candidate and of the baseline.

    Lengths, diversity, refusals, repetition, held-out preferences and the divergence from the baseline need no settings
    and are always measured.
    """

    texts: Annotated[list[TextCorpus], Field(max_length=8)] = Field(
        default_factory=list, description="General text: its perplexity."
    )
    tasks: Annotated[list[HarnessTask], Field(max_length=16)] = Field(
        default_factory=list, description="Tasks of the LM Evaluation Harness: their scores."
    )
    classifiers: Annotated[list[Classifier], Field(max_length=8)] = Field(
        default_factory=list, description="Classifiers of responses: the mean probability of a label."
    )
