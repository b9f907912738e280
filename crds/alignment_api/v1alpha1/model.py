"""Where a model comes from: the Hugging Face hub, the workspace volume, another job, or an earlier stage."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import ApiModel, DataKey, ObjectName, StageName, WorkspacePath


class SecretKeyReference(ApiModel):
    """One key of a Secret in the job's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: DataKey = Field(default="token", description="Key within the Secret.")


RepositoryName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[-A-Za-z0-9_.]+(/[-A-Za-z0-9_.]+)?$")]
Revision = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[-A-Za-z0-9_./]+$")]
TRUST_REMOTE_CODE = Field(
    default=False,
    description="Run the Python code that the model brings (`auto_map` in its config.json), in Prepare and in gangs. "
    "Only where the operator's administrator allows it (chart value `allowances.trustRemoteCode`).",
)


class HuggingFaceModel(ApiModel):
    """A model repository on the Hugging Face hub."""

    repository: RepositoryName = Field(description="Repository id, such as `meta-llama/Llama-3.1-8B`.")
    revision: Revision = Field(
        default="main", description="Branch, tag or commit. Prepare pins it to a commit for the whole job."
    )
    token_secret_ref: SecretKeyReference | None = Field(
        default=None, description="Secret with a hub token, for gated or private repositories."
    )
    trust_remote_code: bool = TRUST_REMOTE_CODE


class VolumeModel(ApiModel):
    """A model inside the workspace volume."""

    path: WorkspacePath = Field(description="Path relative to the root of the workspace volume.")
    trust_remote_code: bool = TRUST_REMOTE_CODE


class JobModel(ApiModel):
    """A model that another AlignmentJob of the namespace made, in a workspace that both jobs use.

    The job waits until that one is done, and goes on with what it made then, whatever becomes of it later.
    """

    name: Annotated[ObjectName, Field(max_length=63)] = Field(description="Name of the AlignmentJob.")
    stage: StageName | None = Field(
        default=None, description="The model of this stage of it. Unset: the one that it promoted."
    )


class BaseModelSource(ApiModel):
    """The model that a pipeline starts from."""

    one_of: ClassVar[tuple[str, ...]] = ("hugging_face", "volume", "from_job")

    hugging_face: HuggingFaceModel | None = Field(default=None, description="A repository on the Hugging Face hub.")
    volume: VolumeModel | None = Field(
        default=None, description="A folder in the workspace, as written by `save_pretrained`."
    )
    from_job: JobModel | None = Field(default=None, description="A model of another AlignmentJob.")


class ModelSource(ApiModel):
    """The model that a stage starts from or evaluates."""

    one_of: ClassVar[tuple[str, ...]] = ("hugging_face", "volume", "from_job", "from_stage")

    hugging_face: HuggingFaceModel | None = Field(default=None, description="A repository on the Hugging Face hub.")
    volume: VolumeModel | None = Field(
        default=None, description="A folder in the workspace, as written by `save_pretrained`."
    )
    from_job: JobModel | None = Field(default=None, description="A model of another AlignmentJob.")
    from_stage: StageName | None = Field(default=None, description="The model another stage of this job produces.")


class ChatTemplate(ApiModel):
    """The Jinja template that turns chat messages into text."""

    one_of: ClassVar[tuple[str, ...]] = ("name", "inline")

    name: Literal["chatml", "llama3"] | None = Field(
        default=None, description="A template that ships with the trainer: `chatml` or `llama3`."
    )
    inline: Annotated[str, Field(min_length=1, max_length=16384)] | None = Field(
        default=None,
        description="A Jinja template. Wrap assistant text in `{% generation %}` so that loss can be limited to it.",
    )


class Tokenizer(ApiModel):
    """Overrides of what the base model's tokenizer says about itself."""

    chat_template: ChatTemplate | None = Field(
        default=None,
        description="Chat template. Unset: the model's own; a model that has none is refused by Prepare.",
    )
    pad_token: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None,
        description="Padding token, one that the vocabulary already holds. Unset: the model's own, else an unused "
        "special token. Never silently the end-of-sequence token.",
    )
