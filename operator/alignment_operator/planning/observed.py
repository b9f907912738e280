"""What a plan is made from: everything known about one AlignmentJob at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alignment_api.contract import Progress
from alignment_api.v1alpha1.base import ApiModel

from .allowances import Allowances

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON, as the API server returns it."""


@dataclass(frozen=True)
class GangProgress:
    """The newest valid answer of a gang's rank 0.

    Attributes:
        progress: what it said.
        changed_at: when the operator first saw this phase and step; a stall is measured from here, by the operator's
            own clock, since a Pod's clock may be wrong or its training process hung.
    """

    progress: Progress
    changed_at: datetime


class GangTraffic(ApiModel):
    """Whom the NetworkPolicies of gangs let in beside the gang itself.

    Attributes:
        operator_namespace: the operator's own namespace.
        operator_labels: labels of the operator's Pods.
        scrapers: who else may read progress and metrics, as peers of a NetworkPolicy.
    """

    operator_namespace: str
    operator_labels: dict[str, str]
    scrapers: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Settings:
    """What the administrator sets when installing the operator.

    Attributes:
        gang_traffic: whom gangs let in; None makes no NetworkPolicies.
        reports: whether reports of jobs are fetched from their Pods and served.
    """

    trainer_image: str
    image_pull_policy: str = "IfNotPresent"
    status_interval_seconds: float = 15.0
    allowances: Allowances = field(default_factory=Allowances)
    gang_traffic: GangTraffic | None = None
    reports: bool = True


@dataclass(frozen=True)
class Observed:
    """The state of the cluster as far as one AlignmentJob is concerned.

    Attributes:
        jobs: the batch/v1 Jobs of this AlignmentJob (prepare and gangs).
        pods: their Pods.
        missing: what the manifest refers to and the namespace lacks: (field path, message). Looked for only until
            Prepare is started; from then on Pods that wait say what for.
        progress: newest answers, by (stage name, attempt).
        asking_since: when this process began asking gangs for progress; a gang's silence counts from here at the
            earliest, so that a restarted operator takes none for stalled. None: silent gangs are never given up.
        other_jobs: AlignmentJobs of the namespace that this one takes models from, by name, as far as they exist.
            Looked for only until Prepare is over.
        queue_messages: why Kueue has not admitted a suspended Job, by the Job's name.
    """

    jobs: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    progress: Mapping[tuple[str, int], GangProgress] = field(default_factory=dict)
    asking_since: datetime | None = None
    other_jobs: Mapping[str, Manifest] = field(default_factory=dict)
    queue_messages: Mapping[str, str] = field(default_factory=dict)
