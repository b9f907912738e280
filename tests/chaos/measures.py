"""How long it took to see each fault and to go on, and what it cost; as a table. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .record import Injection, Record


@dataclass(frozen=True)
class Measure:
    """What one fault cost.

    Attributes:
        fault: its kind.
        run: seed of the run.
        attempt: stage and attempt that it struck.
        restarted: whether another attempt followed.
        reason: class of the failure, as the status told it; None without one.
        detect: seconds until the status told of it.
        resume: seconds until the next attempt had done a step.
        lost: steps that were done twice.
    """

    fault: str
    run: str
    attempt: str
    restarted: bool
    reason: str | None
    detect: float | None
    resume: float | None
    lost: int | None


def measures_of(record: Record) -> list[Measure]:
    """One for each fault of a run."""
    return [_measure(record, hit) for hit in record.injections]


def _measure(record: Record, hit: Injection) -> Measure:
    told = _line(record.job.get("status", {}), hit)
    gangs = [gang.attempt for gang in record.gangs if gang.stage == hit.stage]
    before, after = record.steps.get((hit.stage, hit.attempt), ()), record.steps.get((hit.stage, hit.attempt + 1), ())
    first_seen = next((seen.time for seen in record.snapshots if _line(seen.status, hit)), None)
    lost = None
    if after:
        lost = max(0, (before[-1].step if before else 0) - (after[0].step - 1))
    return Measure(
        fault=hit.strike.fault,
        run=record.plan.seed,
        attempt=f"{hit.stage or 'prepare'}/{hit.attempt}",
        restarted=any(attempt > hit.attempt for attempt in gangs),
        reason=told["reason"] if told else None,
        detect=first_seen - hit.began if first_seen else None,
        resume=after[0].time - hit.began if after else None,
        lost=lost,
    )


def _line(status: dict[str, Any], hit: Injection) -> dict[str, Any] | None:
    """The failure line of the attempt that was struck."""
    if not hit.stage:
        lines = (status.get("prepare") or {}).get("failures") or ()
        return lines[-1] if lines else None
    for stage in status.get("stages", []):
        if stage["name"] == hit.stage:
            return next((line for line in stage.get("failures") or () if line["attempt"] == hit.attempt), None)
    return None


def table(measures: Sequence[Measure]) -> str:
    """A line for each kind of fault."""
    rows = [("fault", "struck", "restarts", "detect s", "resume s", "steps lost", "reasons")]
    for fault in dict.fromkeys(sorted(measure.fault for measure in measures)):
        mine = [measure for measure in measures if measure.fault == fault]
        reasons = Counter(measure.reason for measure in mine if measure.reason)
        rows.append(
            (
                fault,
                str(len(mine)),
                str(sum(measure.restarted for measure in mine)),
                _spread([measure.detect for measure in mine]),
                _spread([measure.resume for measure in mine]),
                _spread([measure.lost for measure in mine]),
                ", ".join(f"{reason} {count}" for reason, count in reasons.items()),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_json(measures: Sequence[Measure]) -> list[dict[str, Any]]:
    """Every measure, for programs."""
    return [asdict(measure) for measure in measures]


def _spread(values: Sequence[float | None]) -> str:
    """Median and largest; nothing where nothing was measured."""
    known = [value for value in values if value is not None]
    return f"{median(known):.3g} / {max(known):.3g}" if known else ""
