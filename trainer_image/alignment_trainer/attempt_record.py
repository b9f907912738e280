"""What rank 0's Pod notes of an attempt beside its checkpoints: when it ran, on how much, and how it ended.

A Pod that is lost leaves no more than when it began.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import Field

from alignment_api.contract import AttemptLayout, Progress, Summary
from alignment_api.exit_codes import REASON_OF_EXIT_CODE, ExitCode
from alignment_api.v1alpha1 import Runtime
from alignment_api.v1alpha1.base import ApiModel

from .device import Device
from .files import write_atomically

_log = logging.getLogger(__name__)

PROCESS_KILLED = "ProcessKilled"
"""Reason of an attempt whose process a signal ended, for which there is no exit code of ours."""


class AttemptRecord(ApiModel):
    """Content of ``attempt.json``."""

    started_at: datetime
    ended_at: datetime | None = Field(default=None, description="None: it runs, or was lost.")
    nodes: Annotated[int, Field(ge=1)] = Field(description="Pods of its gang.")
    processes_per_node: Annotated[int, Field(ge=1)]
    gpus_per_node: Annotated[int, Field(ge=0)] = Field(description="0: it runs on CPUs.")
    exit_code: int | None = None
    reason: str | None = Field(default=None, description="Failure class, or Succeeded.")
    message: str = ""
    progress: Progress | None = Field(default=None, description="How far it came.")

    @classmethod
    def begun(cls, runtime: Runtime, machine: Device) -> Self:
        """The record of an attempt that begins now."""
        return cls(
            started_at=datetime.now(UTC),
            nodes=runtime.nodes,
            processes_per_node=runtime.processes_per_node,
            gpus_per_node=0 if machine.is_cpu else machine.count,
        )

    def ended(self, summary: Summary) -> Self:
        """The record of the attempt, which ends now."""
        return self.model_copy(
            update={
                "ended_at": datetime.now(UTC),
                "exit_code": summary.exit_code,
                "reason": reason_of(summary.exit_code),
                "message": summary.message,
                "progress": summary.progress,
            }
        )

    def write(self, attempt: AttemptLayout) -> None:
        """Keep the record; a volume that refuses it is only logged."""
        try:
            attempt.root.mkdir(parents=True, exist_ok=True)
            write_atomically(attempt.record, self.model_dump_json(by_alias=True, exclude_none=True, indent=1))
        except OSError as error:
            _log.warning("cannot keep %s: %s", attempt.record, error)


def reason_of(exit_code: int) -> str:
    """The failure class that an exit code stands for."""
    if exit_code not in ExitCode._value2member_map_:
        return PROCESS_KILLED
    return REASON_OF_EXIT_CODE[ExitCode(exit_code)].value
