"""Which model is promoted: the candidate that the promoting stage chose, whose gates all hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from alignment_api.contract import JobLayout, Problem
from alignment_api.v1alpha1 import AlignmentJobSpec, ModelSource, ModelStatus, Stage
from alignment_api.v1alpha1.promotion import Promotion, PromotionArtifact

from ..evaluation.results import RESULTS, CandidateResult, EvaluationResults
from ..exceptions import ConfigurationError, StorageError


@dataclass(frozen=True)
class Choice:
    """The model to promote, and why.

    Attributes:
        promotion: what the manifest wants to become of it.
        stage: the evaluate stage that chose it.
        results: what that stage found.
        candidate: the chosen one of them.
        source: where the manifest says that it comes from.
        trained_by: the stage that made it; None for a model from elsewhere.
    """

    promotion: Promotion
    stage: Stage
    results: EvaluationResults
    candidate: CandidateResult
    source: ModelSource
    trained_by: Stage | None

    @property
    def is_adapter(self) -> bool:
        """Whether the adapter alone is promoted."""
        return self.promotion.artifact is PromotionArtifact.ADAPTER

    def status(self, digest: str) -> ModelStatus:
        """The model as status shows it."""
        return ModelStatus(path=self.candidate.path, adapter_path=self.candidate.adapter_path, digest=digest)


def choose(spec: AlignmentJobSpec, layout: JobLayout) -> Choice:
    """The candidate to promote.

    Raises:
        ConfigurationError: the job promotes nothing, a gate does not hold, or the candidate has no adapter.
        StorageError: the workspace does not hold what the evaluation found.
    """
    stage = spec.promoting_stage()
    if spec.promotion is None or stage is None or stage.evaluate is None:
        raise _refused("spec.promotion", "the job promotes nothing: set spec.promotion, and gates in an evaluate stage")
    results = _read(layout.stage(stage.name).report)
    candidate = results.chosen
    failed = [gate.metric for gate in candidate.gates if not gate.passed]
    if candidate.passed is not True or failed or len(candidate.gates) != len(stage.evaluate.gates):
        field = f"spec.stages[{spec.stages.index(stage)}].evaluate.gates"
        reason = f"does not pass {', '.join(failed)}" if failed else "was not measured against every gate"
        raise _refused(field, f"candidate {candidate.name} of stage {stage.name} {reason}, so it is not promoted")
    if spec.promotion.artifact is PromotionArtifact.ADAPTER and candidate.adapter_path is None:
        message = f"candidate {candidate.name} has no adapter: set artifact to model"
        raise _refused("spec.promotion.artifact", message)
    _, source = stage.evaluate.candidate_fields()[candidate.name]
    trained_by = spec.stage(source.from_stage) if source.from_stage is not None else None
    return Choice(spec.promotion, stage, results, candidate, source, trained_by)


def _read(report: Path) -> EvaluationResults:
    try:
        return EvaluationResults.load(report)
    except (OSError, ValidationError) as error:
        raise StorageError(f"the evaluation's results, {report / RESULTS}, cannot be read: {error}") from error


def _refused(field: str, message: str) -> ConfigurationError:
    return ConfigurationError(message, [Problem(field=field, message=message)])
