"""Where a model goes once its gates hold: to where serving finds it, with its model card and its lineage."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from .base import ApiModel, ObjectName, StageName, WorkspacePath
from .dataset import S3Store
from .model import RepositoryName, Revision, SecretKeyReference


class PromotionArtifact(StrEnum):
    """What of a model is promoted."""

    MODEL = "model"
    ADAPTER = "adapter"


class VolumeDestination(ApiModel):
    """A folder in the workspace."""

    path: WorkspacePath = Field(
        description="Path relative to the root of the workspace volume. It becomes a symbolic link, which is moved in "
        "one step: who resolves it once, as a `subPath` mount does, reads the model before or the whole new one. The "
        "one before stays beside it until the next promotion."
    )


class S3Destination(S3Store):
    """A prefix in an S3-compatible store."""

    prefix: Annotated[str, Field(min_length=1, max_length=900, pattern=r"^[^/]+(/[^/]+)*/?$")] = Field(
        description="Prefix of the model's keys. Each model is written below its digest; `latest.json` at the prefix, "
        "written last, names the newest."
    )


class HubDestination(ApiModel):
    """A model repository on the Hugging Face hub, written as one commit."""

    repository: RepositoryName = Field(description="Repository id; it is made if there is none.")
    revision: Revision = Field(default="main", description="Branch to commit to; it is made if there is none.")
    private: bool = Field(default=True, description="Make a new repository private.")
    token_secret_ref: SecretKeyReference = Field(description="Secret with a hub token that may write.")


class OciDestination(ApiModel):
    """An artifact in an OCI registry."""

    repository: Annotated[
        str,
        Field(
            min_length=3,
            max_length=255,
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$",
        ),
    ] = Field(description="Registry and repository, such as `registry.example.com/models/llama`.")
    tag: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][-A-Za-z0-9_.]*$")] = Field(
        description="Tag that is moved to the artifact."
    )
    plain_http: bool = Field(default=False, description="Speak HTTP without TLS, to a registry inside the cluster.")
    credentials_secret: ObjectName | None = Field(
        default=None, description="Secret with the keys `username` and `password`. Unset: anonymous."
    )


class Destination(ApiModel):
    """One place to put the model."""

    one_of: ClassVar[tuple[str, ...]] = ("volume", "s3", "hugging_face", "oci")

    volume: VolumeDestination | None = Field(default=None, description="A folder in the workspace.")
    s3: S3Destination | None = Field(default=None, description="A prefix in an S3-compatible store.")
    hugging_face: HubDestination | None = Field(default=None, description="A repository on the Hugging Face hub.")
    oci: OciDestination | None = Field(default=None, description="An artifact in an OCI registry.")


class Promotion(ApiModel):
    """Puts the candidate whose gates all hold where it is served from. Its Pod is like Prepare's and needs no GPU."""

    stage: StageName | None = Field(
        default=None, description="The evaluate stage whose candidate is promoted. Unset: the last one with gates."
    )
    artifact: PromotionArtifact = Field(
        default=PromotionArtifact.MODEL,
        description="`model`: the whole model, adapters merged; `adapter`: the adapter alone.",
    )
    to: Annotated[list[Destination], Field(min_length=1, max_length=8)] = Field(description="Where to put the model.")
