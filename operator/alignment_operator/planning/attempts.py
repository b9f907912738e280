"""The attempts at Prepare, at each stage and at the promotion, as far as their Jobs and Pods are seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from alignment_api import labels
from alignment_api.contract import Summary

from ..failures.attempt_failure import is_failing
from ..failures.node_loss import is_over, is_terminal, presumed_gone_at
from ..failures.pod_failure import pod_failure
from ..failures.termination import summary_of
from .actions import ObjectKey
from .observed import Manifest, Observed

PREPARE: Final = ""
PROMOTION: Final = "/promotion"
"""Stand for Prepare and the promotion where a stage is named; no stage can be called so."""

_NAMED_BY_ROLE: Final = {labels.ROLE_PREPARE: PREPARE, labels.ROLE_PROMOTE: PROMOTION}


@dataclass(frozen=True)
class Attempt:
    """What is seen of one attempt.

    Attributes:
        number: counted from 1.
        job: its batch/v1 Job; None when the Job is gone and Pods are left.
        pods: its Pods.
    """

    number: int
    job: Manifest | None
    pods: tuple[Manifest, ...]

    @property
    def size(self) -> int:
        """How many Pods it shall have; those that are seen, at least one, when its Job is gone."""
        return int(self.job["spec"]["completions"]) if self.job is not None else max(len(self.pods), 1)

    @property
    def is_suspended(self) -> bool:
        """Whether a queue holds its Job back, or has taken the nodes of its Pods away."""
        return self.job is not None and bool(self.job["spec"].get("suspend"))

    @property
    def is_complete(self) -> bool:
        """Whether all Pods of the attempt succeeded: their own word is enough, the Job's comes a second later.

        A Job that was given up is not complete even so: a Pod of it may have failed, and be gone.
        """
        if self.job is None or is_failing(self.job):
            return False
        succeeded = {_index(pod) for pod in self.pods if pod.get("status", {}).get("phase") == "Succeeded"}
        return _is_marked_complete(self.job) or len(succeeded) >= self.job["spec"]["completions"]

    @property
    def is_active(self) -> bool:
        """Whether its Job goes on, as far as one can see.

        A Job with a Pod that failed or is being deleted does not: its controller ends it (``backoffLimit: 0``) and
        leaves the failed Pod, with its log, for people to look at.
        """
        if self.job is None or "deletionTimestamp" in self.job["metadata"]:
            return False
        if self.is_complete or is_failing(self.job):
            return False
        return not any(pod_failure(pod) or "deletionTimestamp" in pod["metadata"] for pod in self.pods)

    def presumed_over_at(self, now: datetime) -> datetime | None:
        """When the last of its Pods that are being deleted is no longer waited for; None when none is waited for."""
        times = [presumed_gone_at(pod) for pod in self.pods if not is_over(pod, now)]
        return max((time for time in times if time is not None), default=None)

    def to_stop(self) -> tuple[ObjectKey, ...]:
        """What must be deleted so that the attempt ends: its Job, or the Pods that a deleted Job left behind."""
        if self.job is not None:
            # A queue may start a suspended Job again, though its Pods are just being stopped.
            waits = self.is_suspended and not self.is_complete and not is_failing(self.job)
            goes_on = self.is_active or (waits and "deletionTimestamp" not in self.job["metadata"])
            return (ObjectKey.of("Job", self.job),) if goes_on else ()
        return tuple(
            ObjectKey.of("Pod", pod)
            for pod in self.pods
            if not is_terminal(pod) and "deletionTimestamp" not in pod["metadata"]
        )

    @property
    def awaits_summary(self) -> bool:
        """Whether the Job is seen complete and the end of rank 0 not yet: Jobs and Pods are watched apart."""
        rank_0 = self._rank_0()
        return self.is_complete and rank_0 is not None and not is_terminal(rank_0)

    def summary(self) -> Summary | None:
        """What rank 0, or the only Pod, said when it ended."""
        rank_0 = self._rank_0()
        return summary_of(rank_0) if rank_0 is not None and is_terminal(rank_0) else None

    def _rank_0(self) -> Manifest | None:
        for pod in self.pods:
            if _index(pod) == "0":
                return pod
        return None


@dataclass(frozen=True)
class Attempts:
    """All that is seen of one run; attempts in the order of their numbers."""

    all: tuple[Attempt, ...] = ()

    @property
    def newest_number(self) -> int:
        """Highest number seen; 0 when nothing is."""
        return self.all[-1].number if self.all else 0

    def get(self, number: int) -> Attempt:
        """The attempt of that number; one without Job and Pods when nothing is seen of it."""
        return next((attempt for attempt in self.all if attempt.number == number), Attempt(number, None, ()))

    def are_over(self, now: datetime) -> bool:
        """Whether nothing is left that a new attempt would run beside."""
        return all(not attempt.is_active and all(is_over(pod, now) for pod in attempt.pods) for attempt in self.all)

    def presumed_over_at(self, now: datetime) -> datetime | None:
        """When the last of the Pods that are being deleted is no longer waited for."""
        return max((gone_at for attempt in self.all if (gone_at := attempt.presumed_over_at(now))), default=None)


def attempts_by_stage(observed: Observed) -> Mapping[str, Attempts]:
    """Attempts by stage name, `PREPARE` or `PROMOTION`; what bears no proper labels is not ours and left alone."""
    jobs: dict[tuple[str, int], Manifest] = {}
    pods: dict[tuple[str, int], list[Manifest]] = {}
    for job in observed.jobs:
        if (identity := _identity(job)) is not None:
            jobs[identity] = job
    for pod in observed.pods:
        if (identity := _identity(pod)) is not None:
            pods.setdefault(identity, []).append(pod)
    found: dict[str, list[Attempt]] = {}
    for stage, number in sorted({*jobs, *pods}):
        found.setdefault(stage, []).append(
            Attempt(number, jobs.get((stage, number)), _by_name(pods.get((stage, number), ())))
        )
    return {stage: Attempts(tuple(attempts)) for stage, attempts in found.items()}


def described(name: str) -> str:
    """The run of that name in words."""
    return {PREPARE: "Prepare", PROMOTION: "the promotion"}.get(name, f"stage {name}")


def _is_marked_complete(job: Manifest) -> bool:
    conditions = job.get("status", {}).get("conditions") or []
    return any(condition.get("type") == "Complete" and condition.get("status") == "True" for condition in conditions)


def _index(pod: Manifest) -> str:
    """Which of the gang's Pods it is; the only Pod of another run has no index and counts as rank 0."""
    return str(pod["metadata"].get("labels", {}).get(labels.COMPLETION_INDEX, "0"))


def _identity(child: Manifest) -> tuple[str, int] | None:
    """Stage and number of the attempt that a Job or Pod belongs to."""
    its_labels = child["metadata"].get("labels") or {}
    number = its_labels.get(labels.ATTEMPT, "")
    if not (number.isascii() and number.isdigit()):
        return None
    if (run := _NAMED_BY_ROLE.get(its_labels.get(labels.ROLE, ""))) is not None:
        return run, int(number)
    stage = its_labels.get(labels.STAGE)
    return (stage, int(number)) if stage else None


def _by_name(pods: Iterable[Manifest]) -> tuple[Manifest, ...]:
    return tuple(sorted(pods, key=lambda pod: str(pod["metadata"]["name"])))
