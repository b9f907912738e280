"""Objects that the manifest names and the namespace lacks: the job waits for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from alignment_api.conditions import Reason

from ...status.waiting import Wait
from ..context import Context

_LOOK_AGAIN: Final = timedelta(seconds=5)
"""These objects are not watched."""


def missing_references(context: Context) -> Wait | None:
    """What Prepare's Pod would lack; None when it can start."""
    if not context.observed.missing:
        return None
    text = "; ".join(f"{field}: {message}" for field, message in context.observed.missing)
    first_field, _ = context.observed.missing[0]
    reason = Reason.MISSING_CONFIG_MAP if "configMap" in first_field else Reason.MISSING_CLAIM
    return Wait(reason, text, look_again=context.now + _LOOK_AGAIN)
