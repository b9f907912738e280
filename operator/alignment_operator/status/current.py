"""The stage at work, as printer columns show it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from alignment_api.v1alpha1 import CurrentStage, StagePhase, StageStatus

from .runs import is_live, is_terminal

_MAX_TEXT: Final = 32
_LONGEST_ETA_SECONDS: Final = 10_000 * 86400


def current_stage(stages: Sequence[StageStatus]) -> CurrentStage | None:
    """The first stage with a gang; else the next to run; else the one that failed; else the last that ran, if any."""
    candidates = (
        *(stage for stage in stages if is_live(stage)),
        *(stage for stage in stages if not is_terminal(stage)),
        *(stage for stage in stages if stage.phase is StagePhase.FAILED),
        *(stage for stage in reversed(stages) if stage.phase is StagePhase.SUCCEEDED),
    )
    if not candidates:  # none ever ran: Prepare refused the job
        return None
    stage = candidates[0]
    progress = stage.progress
    loss = (stage.metrics or {}).get("loss")
    eta = progress.eta_seconds if progress is not None and is_live(stage) else None
    return CurrentStage(
        stage=stage.name,
        method=stage.method,
        step=f"{progress.step}/{progress.total_steps}"[:_MAX_TEXT] if progress else None,
        loss=f"{loss:.4g}" if loss is not None else None,
        eta=str(timedelta(seconds=eta))[:_MAX_TEXT] if eta is not None and eta < _LONGEST_ETA_SECONDS else None,
    )
