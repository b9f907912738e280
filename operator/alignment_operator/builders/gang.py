"""What is particular about one attempt at a stage."""

from __future__ import annotations

from dataclasses import dataclass

from alignment_api.contract import AttemptShape


@dataclass(frozen=True)
class Gang:
    """One attempt at a stage.

    Attributes:
        stage: name of the stage.
        attempt: number of the attempt, from 1.
        shape: its size, which may be smaller than specified.
        avoided_nodes: names of nodes that its Pods must not run on.
        resumes: whether an earlier attempt is known to have had a complete checkpoint.
    """

    stage: str
    attempt: int
    shape: AttemptShape
    avoided_nodes: tuple[str, ...] = ()
    resumes: bool = False
