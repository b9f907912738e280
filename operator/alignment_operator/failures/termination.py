"""The summary that a trainer container leaves as its termination message."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from alignment_api import labels
from alignment_api.contract import MAX_SUMMARY_BYTES, Summary

from ..planning.observed import Manifest


def terminated_state(pod: Manifest) -> dict[str, Any] | None:
    """``state.terminated`` of the trainer container; None while it has not ended."""
    for container in pod.get("status", {}).get("containerStatuses") or []:
        if container.get("name") == labels.CONTAINER:
            terminated: dict[str, Any] | None = container.get("state", {}).get("terminated")
            return terminated
    return None


def summary_of(pod: Manifest) -> Summary | None:
    """What the container said when it ended; None when it said nothing that can be understood.

    The message comes from a container in which user code ran: whatever is not a valid summary is ignored. What a newer
    trainer says beyond what is known here is left out, and the rest believed.
    """
    text = (terminated_state(pod) or {}).get("message")
    if not isinstance(text, str) or len(text.encode()) > MAX_SUMMARY_BYTES:
        return None
    try:
        said = json.loads(text, parse_constant=_number, parse_int=_number, parse_float=_number)
        return Summary.model_validate(said, extra="ignore")
    except (ValidationError, ValueError, RecursionError):
        return None


def _number(text: str) -> int | float:
    """A number that the API server can store: finite, and not beyond 64 bits if an integer.

    Raises:
        ValueError: it cannot.
    """
    value: int | float = int(text) if text.lstrip("-").isdigit() else float(text)
    if not abs(value) < 2**63:
        raise ValueError(f"{text} is out of range")
    return value
