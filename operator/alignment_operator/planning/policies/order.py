"""The order of the stages: each runs after the stages whose models or rows it uses."""

from __future__ import annotations

from alignment_api.v1alpha1 import AlignmentJobSpec, StagePhase
from alignment_api.v1alpha1.validation.references import dependencies

from ..pipeline import Pipeline


def unmet_dependencies(pipeline: Pipeline, spec: AlignmentJobSpec, stage: str) -> tuple[str, ...]:
    """Names of the stages that ``stage`` still has to wait for."""
    succeeded = {other.name for other in pipeline.stages if other.phase is StagePhase.SUCCEEDED}
    return tuple(name for name in dependencies(spec.stage(stage)) if name not in succeeded)
