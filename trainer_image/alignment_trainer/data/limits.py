"""What a stage's maxLength does to rows that are longer. Pure."""

from __future__ import annotations

from alignment_api.v1alpha1 import Stage
from alignment_api.v1alpha1.methods.common import Truncation
from alignment_api.v1alpha1.methods.sft import LossOn


def max_length(stage: Stage) -> int | None:
    """Longest row in tokens; None of methods that take prompts of any length."""
    limit: int | None = getattr(getattr(stage, stage.method.value), "max_length", None)
    return limit


def leaves_long_rows_out(stage: Stage) -> bool:
    """Whether longer rows are not trained on at all; elsewhere they are cut."""
    return stage.reward is not None


def needs_room_after_prompt(stage: Stage) -> bool:
    """Whether a row of which the prompt alone fills maxLength teaches nothing, so that training leaves it out.

    It does not where the end of the row is kept, or where prompts carry loss themselves.
    """
    if max_length(stage) is None or leaves_long_rows_out(stage):
        return False
    if stage.sft is not None:
        return stage.sft.loss_on is LossOn.COMPLETION and stage.sft.truncation is Truncation.KEEP_START
    return stage.dpo is None or stage.dpo.truncation is Truncation.KEEP_START
