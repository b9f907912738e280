"""Where a stage's data comes from, in which format, and how much of it is used."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from .base import INT32_MAX, ApiModel, DataKey, ObjectName, StageName, WorkspacePath
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
    PROMPTS = "prompts"


PREFERENCE_FORMATS = frozenset({DatasetFormat.PREFERENCE, DatasetFormat.HH_RLHF})
INSTRUCTION_FORMATS = frozenset(
    {DatasetFormat.ALPACA, DatasetFormat.MESSAGES, DatasetFormat.SHARE_GPT, DatasetFormat.PROMPT_COMPLETION}
)


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
        description="Path relative to the root of the workspace volume: `.jsonl`, `.json`, `.csv` or `.parquet`, or a "
        "folder of such files."
    )


class ConfigMapDataset(ApiModel):
    """Rows in a ConfigMap of the job's namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    key: DataKey = Field(description="Key whose value is JSON Lines (`.jsonl`), JSON (`.json`) or CSV (`.csv`).")


class InlineDataset(ApiModel):
    """Rows written in the manifest itself, for small data."""

    rows: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=512)] = Field(description="The rows.")


class DataQuality(ApiModel):
    """How much bad data is tolerated before the job is refused."""

    max_invalid_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="Largest fraction of rows that may be invalid. Invalid rows up to it are dropped and recorded in "
        "the data report; more of them, and the job ends in Prepare with a list of rows.",
    )


class Dataset(ApiModel):
    """The data of a stage."""

    one_of: ClassVar[tuple[str, ...]] = ("hugging_face", "volume", "config_map", "inline", "held_out_from_stage")

    hugging_face: HuggingFaceDataset | None = Field(default=None, description="A dataset on the Hugging Face hub.")
    volume: VolumeDataset | None = Field(default=None, description="Files in the workspace volume.")
    config_map: ConfigMapDataset | None = Field(default=None, description="A key of a ConfigMap.")
    inline: InlineDataset | None = Field(default=None, description="Rows in the manifest.")
    held_out_from_stage: StageName | None = Field(
        default=None,
        description="The rows that another stage of this job held out (its `evalFraction`). For `evaluate` stages.",
    )
    format: DatasetFormat = Field(
        default=DatasetFormat.AUTO, description="How to read the columns; `auto` decides by their names and types."
    )
    max_samples: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None, description="Use at most this many rows, taken after shuffling."
    )
    eval_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Fraction of the rows held out from training, by prompt, so that no prompt is in both."
    )
    seed: Annotated[int, Field(ge=0, le=INT32_MAX)] = Field(
        default=42, description="Seed of the shuffle that picks samples and held-out rows."
    )
    quality: DataQuality = Field(default_factory=DataQuality, description="Limits on bad rows.")
