"""One look at one AlignmentJob: observe, plan, carry out.

The order makes it safe to be killed at any instant. Objects come before the status that speaks of them, so a status
never claims what is not there; what goes, goes after the status that says why, so that the operator's own deletion
is never taken for a loss; every name is deterministic and every apply idempotent, so a step done twice is done once;
and whatever was not written is planned again, from what the cluster then holds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from alignment_api.conditions import Reason
from alignment_api.v1alpha1 import TERMINAL_JOB_PHASES, AlignmentJobSpec, AlignmentJobStatus, StagePhase, uses

from ..cluster.applier import Applier
from ..cluster.awaited import jobs_named_in
from ..cluster.events import EventWriter
from ..cluster.queues import Queues
from ..cluster.references import Missing, References
from ..cluster.status_writer import StatusWriter
from ..cluster.store import Key, Store, uid_of
from ..exceptions import ClusterError, RejectedError
from ..logs import JOB
from ..metrics.work import WorkMetrics
from ..planning.actions import Event, ObjectKey, Plan
from ..planning.observed import Manifest, Observed, Settings
from ..planning.plan import plan
from ..progress.table import ProgressTable
from .error_status import status_of_rejection
from .pace import status_wait

log = logging.getLogger(__name__)

_SHORTEST_DELAY_SECONDS: Final = 0.2
"""A plan that asks to come again at once, again and again, must not keep a processor busy."""

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class ClusterAdapters:
    """What carries a plan out."""

    applier: Applier
    status: StatusWriter
    events: EventWriter
    references: References
    queues: Queues


class Reconciler:
    """Brings AlignmentJobs one step further."""

    def __init__(
        self,
        store: Store,
        progress: ProgressTable,
        cluster: ClusterAdapters,
        settings: Settings,
        metrics: WorkMetrics,
        clock: Clock,
    ) -> None:
        self._store = store
        self._progress = progress
        self._cluster = cluster
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._asking_since = clock()
        self._status_written: dict[Key, datetime] = {}
        # Jobs whose status may be newer than the store's: a write got no answer. No plan may be made from the old one.
        self._doubtful: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done for one AlignmentJob now.

        Returns:
            After how many seconds to come again though nothing happens; None when only an event can change anything.

        Raises:
            ClusterError: something could not be done; it is to be tried again.
        """
        if key in self._doubtful:
            await self._cluster.status.reread(key)
            self._doubtful.discard(key)
        manifest = self._store.alignment_jobs.get(key)
        if manifest is None:
            self._status_written.pop(key, None)
            return None
        if "deletionTimestamp" in manifest["metadata"]:
            return None  # the garbage collector removes what the job owns
        observed = await self._observe(manifest)
        now = self._clock()
        steps = plan(manifest, observed, self._settings, now)
        try:
            await self._apply(key, steps)
            await self._delete(key, steps.clear)
        except RejectedError as error:
            await self._delete(key, steps.delete)
            told = (Event("Warning", Reason.RECONCILE_ERROR, str(error)),)
            await self._write_status(key, manifest, status_of_rejection(manifest, error, now), told)
            raise
        delays = [] if steps.wake_at is None else [(steps.wake_at - now).total_seconds()]
        if steps.status is not None and steps.status.to_yaml_dict() != manifest.get("status"):
            written = self._status_written.get(key)
            since = None if written is None else (now - written).total_seconds()
            wait = status_wait(steps, since, self._settings.status_interval_seconds)
            if wait > 0:
                delays.append(wait)
            else:
                await self._record(key, manifest, steps.status, steps)
        await self._delete(key, steps.delete)
        return max(min(delays), _SHORTEST_DELAY_SECONDS) if delays else None

    async def _observe(self, manifest: Manifest) -> Observed:
        uid, namespace = uid_of(manifest), manifest["metadata"]["namespace"]
        jobs = self._store.jobs.owned_by(uid, namespace)
        others = {name: self._store.alignment_jobs.get(Key(namespace, name)) for name in jobs_named_in(manifest)}
        return Observed(
            jobs=jobs,
            pods=self._store.pods.owned_by(uid, namespace),
            # Looked for until the Prepare Job exists; from then on its Pod says what it lacks.
            missing=() if jobs or _is_past_prepare(manifest) else await self._missing(manifest),
            progress=self._progress.of(uid),
            asking_since=self._asking_since,
            other_jobs={name: other for name, other in others.items() if other is not None},
            queue_messages=await self._cluster.queues.messages(namespace, jobs),
        )

    async def _missing(self, manifest: Manifest) -> tuple[Missing, ...]:
        try:
            spec = AlignmentJobSpec.model_validate(manifest["spec"])
        except ValidationError:
            return ()  # the plan refuses the job
        found = {model["field"] for model in (manifest.get("status") or {}).get("models") or ()}
        if any(use.field not in found for use in uses.job_models(spec)):
            return ()  # it waits for other jobs first
        return await self._cluster.references.missing(manifest["metadata"]["namespace"], spec)

    async def _apply(self, key: Key, steps: Plan) -> None:
        for manifest in steps.apply:
            await self._cluster.applier.apply(manifest)
            log.info("applied %s %s", manifest["kind"], manifest["metadata"]["name"], extra={JOB: str(key)})

    async def _record(self, key: Key, manifest: Manifest, status: AlignmentJobStatus, steps: Plan) -> None:
        """Write the status. One that the API server refuses does not keep what must go, which may hold nodes."""
        try:
            await self._write_status(key, manifest, status, steps.events)
        except RejectedError:
            await self._delete(key, steps.delete)
            raise

    async def _delete(self, key: Key, targets: Iterable[ObjectKey]) -> None:
        for target in targets:
            await self._cluster.applier.delete(target)
            log.info("deleted %s %s", target.kind, target.name, extra={JOB: str(key)})

    async def _write_status(
        self, key: Key, manifest: Manifest, status: AlignmentJobStatus, events: tuple[Event, ...] = ()
    ) -> None:
        content = status.to_yaml_dict()
        if content == manifest.get("status"):
            return
        self._doubtful.add(key)
        await self._cluster.status.write(manifest, content)
        self._doubtful.discard(key)
        self._status_written[key] = self._clock()
        self._metrics.failures_seen(manifest.get("status") or {}, content)
        for event in events:
            try:
                await self._cluster.events.post(manifest, event)
            except ClusterError as error:  # events are a courtesy: the status already says the same
                log.warning("%s", error, extra={JOB: str(key)})


def _is_past_prepare(manifest: Manifest) -> bool:
    """Whether nothing that Prepare needs is needed now: it is over, the job ended, or it is suspended."""
    status = manifest.get("status") or {}
    prepared = (status.get("prepare") or {}).get("phase") == StagePhase.SUCCEEDED
    ended = status.get("phase") in TERMINAL_JOB_PHASES
    return bool(prepared or ended or manifest["spec"].get("suspend"))
