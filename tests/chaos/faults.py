"""The kinds of faults: when each can strike, what it may do to a gang, and what the status may say of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final


class When(StrEnum):
    """What the job is doing when the fault strikes."""

    PREPARING = "preparing"
    LOADING = "loading"
    TRAINING = "training"
    CHECKPOINTING = "checkpointing"
    EXPORTING = "exporting"


class Effect(Enum):
    """What becomes of the gang that is struck."""

    NONE = auto()
    """It trains on."""

    POSSIBLE = auto()
    """It trains on or starts again."""

    RESTART = auto()
    """It starts again."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Training is deterministic on the CPU and every checkpoint is exact, so the model must come out the same after each.

    Attributes:
        name: as the table shows it.
        moments: when it can strike.
        effect: what becomes of the gang.
        reasons: what the failure line of the attempt may say: reason -> pattern found in the message.
        share: how often it is drawn, compared with others.
        second_node: whether it takes a cluster of two nodes.
        outlives: whether the API server may think a Pod ended that still runs: nobody can know better then.
    """

    name: str
    moments: tuple[When, ...]
    effect: Effect
    reasons: Mapping[str, str]
    share: int = 1
    second_node: bool = False
    outlives: bool = False


_ANY: Final = (When.LOADING, When.TRAINING, When.CHECKPOINTING, When.EXPORTING)
_STEPPING: Final = (When.TRAINING, When.CHECKPOINTING)
_TOLD: Final = {"Preempted": r"stopped at step|told to stop", "PodLost": r"deleted|told to stop"}
_EVICTED: Final = {"Preempted": r"evicted"}
_LOST: Final = {"NodeLost": r"\bnode\b"}
_PEER: Final = {"CommunicationError": r"(?i)connection|gloo|peer|timed out"}


def _quiet(name: str, *moments: When, share: int = 1, second_node: bool = False) -> Fault:
    """A fault that no gang may notice."""
    return Fault(name, moments or _ANY, Effect.NONE, {}, share, second_node)


def _hard(name: str, moments: tuple[When, ...], reasons: Mapping[str, str], **more: bool | int) -> Fault:
    """A fault that ends the attempt."""
    return Fault(name, moments, Effect.RESTART, reasons, **more)  # type: ignore[arg-type]


FAULTS: Final = (
    # processes
    *(
        _hard(f"rank killed while {when}", (when,), {"ProcessKilled": "SIGKILL"}, share=4)
        for when in (When.LOADING, When.TRAINING, When.CHECKPOINTING, When.EXPORTING)
    ),
    _hard("container killed", (When.LOADING, *_STEPPING), {"ProcessKilled": "SIGKILL"}, share=2),
    _hard("Prepare killed", (When.PREPARING,), {"ProcessKilled": "SIGKILL"}, share=2),
    _hard("rank hangs", (When.TRAINING,), {"NoProgress": "no progress|stepSeconds"}),
    # the operator
    _quiet("operator killed", When.PREPARING, *_ANY, share=7),
    _hard("operator and rank killed", _STEPPING, {"ProcessKilled": "SIGKILL"}, share=4),
    # Pods and Jobs
    _hard("Pod deleted", _ANY, _TOLD, share=5),
    _hard("Pod deleted by force", _STEPPING, _TOLD | _PEER, share=2, outlives=True),
    _hard("Pod evicted", _ANY, _EVICTED, share=5),
    _hard("Job deleted", _STEPPING, _TOLD, share=3),
    # nodes
    _hard("node drained", _STEPPING, _EVICTED, share=4),
    _hard("node loses power", _STEPPING, _LOST | _PEER, share=4, second_node=True),
    _hard("node is lost", (When.TRAINING,), _LOST | _PEER, second_node=True, outlives=True),
    _quiet("kubelet restarted", share=4),
    _quiet("container runtime restarted", share=4),
    # network
    Fault("node cut off for seconds", (When.TRAINING,), Effect.POSSIBLE, _PEER, 3, second_node=True),
    Fault("node cut off for long", (When.TRAINING,), Effect.POSSIBLE, _LOST | _PEER | _TOLD, 1, True, outlives=True),
    Fault("ranks cut off for seconds", _STEPPING, Effect.POSSIBLE, _PEER, 4),
    _hard("connections of ranks reset", _STEPPING, _PEER, share=3),
    _hard("ranks cut off for good", (When.TRAINING,), _PEER | {"NoProgress": "no progress|stepSeconds"}),
    # control plane
    *(
        _quiet(f"{component} restarted", share=share)
        for component, share in (
            ("etcd", 3),
            ("kube-apiserver", 4),
            ("kube-controller-manager", 3),
            ("kube-scheduler", 2),
            ("coredns", 2),
        )
    ),
    _quiet("kube-apiserver away for seconds", share=3),
    _hard("kube-apiserver restarted, rank killed", _STEPPING, {"ProcessKilled": "SIGKILL"}, share=3),
    # storage, clocks, people
    _hard("disk full", (When.TRAINING,), {"StorageError": r"(?i)space|full"}, share=3),
    _quiet("clock of progress skewed", When.TRAINING, share=3),
    Fault("suspended and resumed", (When.PREPARING, *_ANY), Effect.POSSIBLE, {}, 6),
)  # fmt: skip

BY_NAME: Final = {fault.name: fault for fault in FAULTS}
