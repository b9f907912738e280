"""An evaluate stage: candidates and a baseline answer the same held-out prompts, and are compared."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field

from ..base import ApiModel, DnsLabel
from ..model import ModelSource
from .gates import Gate
from .generation import Generation
from .judges import Judge
from .measures import Measures

CANDIDATE: Final = "candidate"
"""Name of the one candidate that is given without a name."""

BASELINE: Final = "baseline"


class Candidate(ApiModel):
    """One of several models that may be promoted."""

    list_map_key: ClassVar[str | None] = "name"

    name: DnsLabel = Field(description="Name of the candidate in status and report.")
    model: ModelSource = Field(description="The model.")


class Evaluate(ApiModel):
    """Compares the responses of candidates and a baseline to the same held-out prompts."""

    one_of: ClassVar[tuple[str, ...]] = ("candidate", "candidates")

    candidate: ModelSource | None = Field(default=None, description="The model that may be promoted.")
    candidates: Annotated[list[Candidate], Field(min_length=1, max_length=8)] | None = Field(
        default=None,
        description="Several models that may be promoted. Of those that pass all gates, the one that is best by the "
        "first gate is. Each is tested by itself: the more candidates, the likelier that one passes by chance, so "
        "raise `confidence` with their number.",
    )
    baseline: ModelSource = Field(description="The model to compare with.")
    generation: Generation = Field(default_factory=Generation, description="How responses are generated.")
    judges: Annotated[list[Judge], Field(min_length=1, max_length=8)] = Field(description="Who compares responses.")
    measures: Measures = Field(default_factory=Measures, description="What else is measured.")
    gates: Annotated[list[Gate], Field(max_length=16)] = Field(
        default_factory=list,
        description="All must hold for the job's condition Promoted to be true. None: no verdict is given.",
    )

    def candidate_fields(self) -> dict[str, tuple[str, ModelSource]]:
        """The candidates: name -> path of the model below ``evaluate``, and the model."""
        if self.candidate is not None:
            return {CANDIDATE: (CANDIDATE, self.candidate)}
        return {
            candidate.name: (f"candidates[{index}].model", candidate.model)
            for index, candidate in enumerate(self.candidates or ())
        }
