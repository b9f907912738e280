"""Suspension: all attempts end, and none begins until ``spec.suspend`` is false again."""

from __future__ import annotations

from typing import Final

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import RunStatus

from ...status.runs import is_terminal, waiting
from ..pipeline import Pipeline
from .retries import grown_back

_MESSAGE: Final = "spec.suspend is true; set it to false to go on from the last checkpoint"


def suspend(pipeline: Pipeline) -> Pipeline:
    """``pipeline`` with no attempt going on; a gang's Pods write a checkpoint when they are told to stop."""

    def stopped(_: str, run: RunStatus) -> RunStatus:
        return run if is_terminal(run) else grown_back(waiting(run, Reason.SUSPENDED, _MESSAGE))

    return pipeline.each_run(stopped)
