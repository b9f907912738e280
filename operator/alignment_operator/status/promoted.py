"""What the condition Promoted says."""

from __future__ import annotations

from typing import Literal, NamedTuple

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import PromotionStatus, StagePhase
from alignment_api.v1alpha1.evaluation.evaluate import CANDIDATE

from .gates import Verdict

Truth = Literal["True", "False", "Unknown"]


class Told(NamedTuple):
    """A condition without its type."""

    truth: Truth
    reason: Reason
    message: str


def promoted(judged: Verdict | None, promotion: PromotionStatus | None, *, job_is_complete: bool) -> Told | None:
    """What to say of a job whose stages all succeeded; None when there is nothing to say (yet).

    Args:
        judged: of the gates; None when there are none.
        promotion: how far it is; None when a model whose gates hold stays where it is.
        job_is_complete: whether nothing more will happen, and all went well.
    """
    if judged is None:
        return None
    truth: Truth = "True" if judged.passed else "False"
    if promotion is None or not judged.passed:
        return Told(truth, judged.reason, judged.message) if job_is_complete else None
    if promotion.phase is StagePhase.SUCCEEDED:
        return Told("True", Reason.PROMOTED, f"{_places(promotion)}; {judged.message}")
    if promotion.phase in (StagePhase.FAILED, StagePhase.SKIPPED):
        return Told("False", Reason.PROMOTION_FAILED, f"{promotion.message or ''}; {judged.message}")
    return Told("Unknown", Reason.PROMOTING, f"the model is being promoted; {judged.message}")


def _places(promotion: PromotionStatus) -> str:
    result = promotion.result
    if result is None:
        return promotion.message or "the model is promoted"
    what = "the candidate" if result.candidate == CANDIDATE else f"candidate {result.candidate}"
    return f"{what} is promoted to {', '.join(result.locations) or result.model.path}"
