"""Where a stage's data comes from, in which format, and how much of it is used."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from .base import INT32_MAX, ApiModel, CelRule, DataKey, ObjectName, StageName, WorkspacePath
from .model import RepositoryName, Revision, SecretKeyReference


class DatasetFormat(StrEnum):
    """How the columns of a dataset are to be read."""

    AUTO = "auto"
    ALPACA = "alpaca"
    MESSAGES = "messages"
    SHARE_GPT = "shareGpt"
    PROMPT_COMPLETION = "promptCompletion"
    PREFERENCE = "preference"
    HH_RLHF = "hhRlhf"
    GOOD_BAD = "goodBad"
    UNPAIRED_PREFERENCE = "unpairedPreference"
    PROMPTS = "prompts"


PREFERENCE_FORMATS = frozenset({DatasetFormat.PREFERENCE, DatasetFormat.HH_RLHF, DatasetFormat.GOOD_BAD})
INSTRUCTION_FORMATS = frozenset(
    {DatasetFormat.ALPACA, DatasetFormat.MESSAGES, DatasetFormat.SHARE_GPT, DatasetFormat.PROMPT_COMPLETION}
)


ColumnName = Annotated[str, Field(min_length=1, max_length=128)]


class HuggingFaceDataset(ApiModel):
    """A dataset repository on the Hugging Face hub."""

    name: RepositoryName = Field(description="Repository id, such as `Anthropic/hh-rlhf`.")
    subset: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Configuration of the dataset (the hub calls it subset)."
    )
    split: Annotated[str, Field(min_length=1, max_length=100)] = Field(default="train", description="Split to read.")
    revision: Revision = Field(default="main", description="Branch, tag or commit.")
    token_secret_ref: SecretKeyReference | None = Field(
        default=None, description="Secret with a hub token, for gated or private datasets."
    )


class VolumeDataset(ApiModel):
    """A file, or a folder of files of one kind, in the workspace."""

    path: WorkspacePath = Field(
        description="Path relative to the workspace's root: `.jsonl`, `.json`, `.csv`, `.parquet` or `.arrow` "
        "(text also as `.gz`, `.bz2`, `.xz` or `.zst`), or a folder of such files."
    )


class ConfigMapDataset(ApiModel):
    """Rows in a ConfigMap of the job's namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    key: DataKey = Field(description="Key whose value is JSON Lines (`.jsonl`), JSON (`.json`) or CSV (`.csv`).")


class InlineDataset(ApiModel):
    """Rows written in the manifest itself, for small data."""

    rows: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=512)] = Field(description="The rows.")


class S3Store(ApiModel):
    """A bucket in an S3-compatible store."""

    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][-a-z0-9.]*[a-z0-9]$")] = Field(
        description="Name of the bucket."
    )
    endpoint: Annotated[str, Field(min_length=8, max_length=512, pattern=r"^https?://[^\s]+$")] | None = Field(
        default=None, description="Address of the store. Unset: Amazon S3."
    )
    region: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(default=None, description="Region.")
    credentials_secret: ObjectName | None = Field(
        default=None,
        description="Secret with the keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. Unset: the Pod's own "
        "identity, or anonymous.",
    )


class S3Dataset(S3Store):
    """Objects in an S3-compatible store."""

    key: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^(/|[^/]+(/[^/]+)*/?)$")] = Field(
        description="Key of one object, or, ending in `/`, a prefix: all objects of one kind below it. `/` alone: "
        "those in the whole bucket. No part between two `/` may be empty."
    )


class BadRows(StrEnum):
    """What becomes of rows with a flaw that training could live with."""

    KEEP = "keep"
    DROP = "drop"


Limit = Annotated[float, Field(ge=0, le=1)]


class DataQuality(ApiModel):
    """How much bad data is tolerated before the job is refused, and what becomes of flawed rows.

    Limits count what was found before anything was dropped, except for `maxLeakedFraction`, which counts what is left.
    """

    max_invalid_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="Largest fraction of rows that may be invalid. Invalid rows up to it are dropped and recorded in "
        "the data report; more of them, and the job ends in Prepare with a list of rows.",
    )
    max_duplicate_fraction: Limit | None = Field(
        default=None, description="Largest fraction of rows that repeat an earlier one. Unset: any."
    )
    max_truncated_fraction: Limit | None = Field(
        default=None, description="Largest fraction of rows longer than the stage's maxLength. Unset: any."
    )
    max_leaked_fraction: Limit | None = Field(
        default=0.0,
        description="Largest fraction of held-out rows whose prompt is trained on too, case and white space aside.",
    )
    max_chosen_longer_fraction: Limit | None = Field(
        default=None,
        description="Largest fraction of pairs whose chosen response is the longer one: a model trained on them may "
        "learn length. Unset: any.",
    )
    duplicates: BadRows = Field(default=BadRows.KEEP, description="Rows that repeat an earlier one.")
    near_identical: BadRows = Field(
        default=BadRows.KEEP, description="Pairs whose responses differ only in case, spaces and punctuation."
    )
    truncated: BadRows = Field(default=BadRows.KEEP, description="Rows longer than the stage's maxLength.")
    leaked: BadRows = Field(
        default=BadRows.KEEP, description="Training rows whose prompt is among the rows of `evalDataset`."
    )


SOURCES: Final = ("hugging_face", "volume", "s3", "config_map", "inline")
"""Members that say where rows come from."""


class RowSource(ApiModel):
    """Rows of one place."""

    one_of: ClassVar[tuple[str, ...]] = SOURCES

    hugging_face: HuggingFaceDataset | None = Field(default=None, description="A dataset on the Hugging Face hub.")
    volume: VolumeDataset | None = Field(default=None, description="Files in the workspace volume.")
    s3: S3Dataset | None = Field(default=None, description="Objects in an S3-compatible store.")
    config_map: ConfigMapDataset | None = Field(default=None, description="A key of a ConfigMap.")
    inline: InlineDataset | None = Field(default=None, description="Rows in the manifest.")


class DatasetSource(RowSource):
    """Rows of one place and format."""

    format: DatasetFormat = Field(
        default=DatasetFormat.AUTO, description="How to read the columns; `auto` decides by their names and types."
    )
    columns: Annotated[dict[ColumnName, ColumnName], Field(max_length=32)] | None = Field(
        default=None,
        description="Renames columns: the format's name -> the dataset's, such as `{prompt: question}`; "
        "`{prompt: data.question}` reaches into an object.",
    )


class MixturePart(DatasetSource):
    """One dataset of a mixture."""

    weight: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        default=None,
        description="Share of the mixture relative to the other parts. Unset on all parts: every row is used.",
    )


class Dataset(DatasetSource):
    """The data of a stage."""

    one_of: ClassVar[tuple[str, ...]] = (*SOURCES, "mixture", "held_out_from_stage")
    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.evalDataset) || self.evalFraction == 0.0",
            "held-out rows come from evalDataset or from evalFraction: remove one of them",
        ),
        CelRule(
            "!has(self.mixture) || (!has(self.columns) && self.format == 'auto')",
            "format and columns of a mixture stand on its parts: move them there",
        ),
        CelRule(
            "!has(self.mixture) || self.mixture.all(part, has(part.weight)) || "
            "self.mixture.all(part, !has(part.weight))",
            "mixture: set weight on every part or on none",
        ),
    )

    mixture: Annotated[list[MixturePart], Field(min_length=1, max_length=16)] | None = Field(
        default=None,
        description="Several datasets together. With weights, as many rows as the weights allow without repeating one.",
    )
    held_out_from_stage: StageName | None = Field(
        default=None,
        description="The rows that another stage of this job held out (its `evalFraction`). For `evaluate` stages.",
    )
    max_samples: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None, description="Use at most this many rows, taken after shuffling."
    )
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Fraction of the rows held out from training, by prompt, so that no prompt is in both."
    )
    eval_dataset: DatasetSource | None = Field(
        default=None, description="Held-out rows from a dataset of their own, instead of `evalFraction`."
    )
    stream: bool = Field(
        default=False,
        description="Read a hub or S3 dataset row by row instead of downloading it whole first. With `maxSamples`, "
        "only as much is read as is needed, from the beginning.",
    )
    seed: Annotated[int, Field(ge=0, le=INT32_MAX)] = Field(
        default=42, description="Seed of the shuffle that picks samples and held-out rows."
    )
    quality: DataQuality = Field(default_factory=DataQuality, description="Limits on bad rows.")

    def sources(self) -> Iterator[tuple[str, DatasetSource]]:
        """The places rows come from, each with its path below the dataset ("" for the dataset itself)."""
        if self.mixture is not None:
            yield from ((f"mixture[{index}]", part) for index, part in enumerate(self.mixture))
        elif self.held_out_from_stage is None:
            yield "", self
        if self.eval_dataset is not None:
            yield "evalDataset", self.eval_dataset


def field_below(path: str, below: str) -> str:
    """Path in the manifest of a source of the dataset at ``path``; ``below`` is as `Dataset.sources` gives it."""
    return f"{path}.{below}" if below else path
