"""Why an attempt failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from alignment_api.conditions import Reason
from alignment_api.contract import Problem


@dataclass(frozen=True)
class Failure:
    """Why a Pod, and with it an attempt, failed.

    Attributes:
        reason: the failure class; `actions` says what follows from it.
        message: what happened, for people.
        victim: whether the Pod was told to stop or lost a peer, and so is a consequence of another Pod's failure.
        pod: name of the Pod.
        node: name of its node.
        exit_code: exit code of its container.
        finished_at: when it ended, by its node's clock.
        problems: data and configuration errors it found.
        output: the end of its container's output, where the message does not say it all.
        evidence: folder with the last words of all Pods, relative to the workspace.
        placed: of a gang that could not be placed whole: how many of its Pods found a node.
    """

    reason: Reason
    message: str
    victim: bool = False
    pod: str | None = None
    node: str | None = None
    exit_code: int | None = None
    finished_at: datetime | None = None
    problems: tuple[Problem, ...] = ()
    output: str | None = None
    evidence: str | None = None
    placed: int | None = None
