"""The newest progress of every running gang, in memory; nothing is lost with it, as gangs are asked again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from alignment_api.contract import Progress

from ..planning.observed import GangProgress

MOST_METRICS: Final = 128
"""Different names of metrics that an attempt is remembered by."""


class GangKey(NamedTuple):
    """Names one attempt at a stage."""

    job_uid: str
    stage: str
    attempt: int


class ProgressTable:
    """What rank 0 of each gang last said."""

    def __init__(self) -> None:
        self._by_job: dict[str, dict[tuple[str, int], GangProgress]] = {}
        self._answers: dict[GangKey, Progress] = {}
        self._metrics: dict[GangKey, set[str]] = {}

    def __iter__(self) -> Iterator[tuple[GangKey, GangProgress]]:
        return iter([(GangKey(uid, *run), said) for uid, gangs in self._by_job.items() for run, said in gangs.items()])

    def get(self, gang: GangKey) -> GangProgress | None:
        """What the gang last said, or None when it has said nothing yet."""
        return self._by_job.get(gang.job_uid, {}).get((gang.stage, gang.attempt))

    def of(self, job_uid: str) -> Mapping[tuple[str, int], GangProgress]:
        """What all gangs of one job last said, by stage and attempt."""
        return dict(self._by_job.get(job_uid, {}))

    def put(self, gang: GangKey, answer: Progress, progress: Progress, now: datetime) -> bool:
        """Remember a new answer; returns whether it says anything new.

        Args:
            answer: what the gang said, word for word: a gang that hangs repeats itself.
            progress: what is made of it.
        """
        if self._answers.get(gang) == answer:
            return False
        known = self.get(gang)
        moved = known is None or (known.progress.phase, known.progress.step) != (progress.phase, progress.step)
        progress = progress.model_copy(update={"metrics": self._bounded(gang, progress.metrics)})
        said = GangProgress(progress, now if moved or known is None else known.changed_at)
        self._answers[gang] = answer
        self._by_job.setdefault(gang.job_uid, {})[gang.stage, gang.attempt] = said
        return True

    def keep(self, gangs: set[GangKey]) -> None:
        """Forget all gangs but these."""
        kept = [(gang, said) for gang, said in self if gang in gangs]
        self._by_job = {}
        for gang, said in kept:
            self._by_job.setdefault(gang.job_uid, {})[gang.stage, gang.attempt] = said
        self._answers = {gang: answer for gang, answer in self._answers.items() if gang in gangs}
        self._metrics = {gang: names for gang, names in self._metrics.items() if gang in gangs}

    def _bounded(self, gang: GangKey, metrics: dict[str, float]) -> dict[str, float]:
        """``metrics`` without names beyond the first MOST_METRICS of the attempt.

        Every name is a time series for ever in whatever scrapes the operator.
        """
        names = self._metrics.setdefault(gang, set())
        for name in metrics:
            if len(names) < MOST_METRICS:
                names.add(name)
        return {name: value for name, value in metrics.items() if name in names}
