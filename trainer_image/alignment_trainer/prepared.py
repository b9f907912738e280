"""What Prepare settled for the whole job: which local folder each model is in, and each stage's data."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from alignment_api.contract import JobLayout
from alignment_api.v1alpha1 import DataStatus
from alignment_api.v1alpha1.base import ApiModel

from .files import write_atomically
from .models import remote_code


class Prepared(ApiModel):
    """Content of ``prepared.json``, written once every stage is known to be sound."""

    models: dict[str, dict[str, str]] = Field(
        description="Stage -> path of a model below the stage, such as `model` or `evaluate.candidate` -> its folder, "
        "relative to the workspace."
    )
    trusted: list[str] = Field(
        default_factory=list,
        description="Folders of models that may bring code of their own, relative to the workspace.",
    )
    data: dict[str, DataStatus] = Field(default_factory=dict, description="Stage -> numbers of its data.")

    @classmethod
    def load(cls, layout: JobLayout) -> Self:
        """What Prepare wrote for the job.

        Raises:
            OSError: Prepare has not finished.
        """
        return cls.model_validate_json(layout.prepared.read_bytes())

    def trust_models(self, layout: JobLayout) -> None:
        """Let the models that may bring code of their own do so in this process."""
        remote_code.trust(layout.workspace / folder for folder in self.trusted)

    def save(self, layout: JobLayout) -> None:
        """Publish; from here on gangs may start."""
        write_atomically(layout.prepared, self.model_dump_json(by_alias=True, indent=2), durable=True)
