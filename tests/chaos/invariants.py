"""What must hold of every run, whatever struck it. Pure: each check returns what is wrong, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from alignment_api.conditions import Reason

from .faults import Effect, When
from .record import Injection, Record

_AFTERMATH: Final = 15.0
"""Seconds after a fault's end in which an attempt may still fail of it."""

_WORDS: Final = frozenset(Reason)
_TROUBLE: Final = frozenset(
    {Reason.RECONCILE_ERROR, Reason.INVALID_SPEC, Reason.RETRIES_EXHAUSTED, Reason.DEADLINE_EXCEEDED}
)


def violations(record: Record, calm: Record) -> list[str]:
    """Everything that is wrong with a run, compared with one that nothing struck."""
    checks = (ended_well, one_live_gang, failures_explained, attempts_accounted, status_goes_forward)
    found = [text for check in checks for text in check(record)]
    return [*found, *same_training(record, calm), *(f"orphan: {orphan}" for orphan in record.orphans)]


def ended_well(record: Record) -> Iterator[str]:
    """The job is Complete, and each stage did all its steps."""
    conditions = {entry["type"]: entry for entry in record.job.get("status", {}).get("conditions", [])}
    for type_, wanted in (
        ("Complete", "True"),
        ("Ready", "True"),
        ("Reconciling", "False"),
        ("Stalled", "False"),
        ("Failed", "False"),
    ):
        entry = conditions.get(type_)
        if (entry["status"] if entry else "False") != wanted:
            yield f"condition {type_} is not {wanted} at the end: {entry}"
    if [stage["name"] for stage in record.stages] != list(record.plan.stages):
        yield f"stages at the end: {[stage['name'] for stage in record.stages]}"
    for stage in record.stages:
        progress = stage.get("progress") or {}
        if stage["phase"] != "Succeeded":
            yield f"stage {stage['name']} is {stage['phase']} at the end: {stage.get('reason')}: {stage.get('message')}"
        elif progress.get("step") != progress.get("totalSteps"):
            yield f"stage {stage['name']} ended at step {progress.get('step')} of {progress.get('totalSteps')}"


def one_live_gang(record: Record) -> Iterator[str]:
    """No gang began before all Pods of those before it had ended, and none was made twice."""
    excused = {(hit.stage, hit.attempt) for hit in record.injections if hit.strike.kind.outlives}
    for earlier, later in pairwise(record.gangs):
        if (earlier.stage, earlier.attempt) in excused:
            continue
        if earlier.ended is None:
            yield f"{later.name} was created though a Pod of {earlier.name} never ended"
        elif later.created < earlier.ended:
            early = earlier.ended - later.created
            yield f"{later.name} was created {early:.3f} s before the last Pod of {earlier.name} ended"
    for gang in record.gangs:
        if gang.times_created > 1:
            yield f"{gang.name} was created {gang.times_created} times"
    for stage, attempts in record.twice_alive:
        if not any((stage, attempt) in excused for attempt in attempts):
            yield f"processes of attempts {attempts} at {stage} were alive at once"


def failures_explained(record: Record) -> Iterator[str]:
    """Each failure line is of a class, and has a message, that fits a fault which struck that attempt."""
    lines = [(stage["name"], line) for stage in record.stages for line in stage.get("failures") or ()]
    prepare = record.job.get("status", {}).get("prepare") or {}
    lines += [("", line) for line in prepare.get("failures") or ()]
    for stage, line in lines:
        suspects = [hit for hit in record.injections if _touched(record, hit, stage, line["attempt"])]
        if not any(_fits(hit, line) for hit in suspects):
            faults = ", ".join(hit.strike.fault for hit in suspects) or "nothing"
            name = f"{stage or 'Prepare'} attempt {line['attempt']}"
            yield f"{name} failed with {line['reason']}: {line.get('message')!r}, and was struck by: {faults}"


def attempts_accounted(record: Record) -> Iterator[str]:
    """An attempt that was followed by another one has a failure line, or was suspended."""
    for stage in record.stages:
        told = [line["attempt"] for line in stage.get("failures") or ()]
        gangs = [gang for gang in record.gangs if gang.stage == stage["name"]]
        if [gang.attempt for gang in gangs] != list(range(1, len(gangs) + 1)):
            yield f"attempts at {stage['name']} were numbered {[gang.attempt for gang in gangs]}"
        if len(set(told)) != len(told):
            yield f"{stage['name']}: an attempt failed twice: {told}"
        suspended = {hit.attempt for hit in record.injections if hit.stage == stage["name"] and _suspends(hit)}
        for gang in gangs[:-1]:
            if gang.attempt not in told and gang.attempt not in suspended:
                yield f"{gang.name} was followed by another attempt, and no failure line says why"
        for hit in record.injections:
            # An export may have ended before the blow fell.
            certain = hit.strike.kind.effect is Effect.RESTART and hit.strike.when is not When.EXPORTING
            if hit.stage == stage["name"] and certain and not any(gang.attempt > hit.attempt for gang in gangs):
                yield f"{hit.strike.fault} did nothing to attempt {hit.attempt} at {hit.stage}"


def status_goes_forward(record: Record) -> Iterator[str]:
    """What is shown never goes back, and every word of it is one of ours."""
    for before, after in pairwise(record.snapshots):
        if after.status.get("restarts", 0) < before.status.get("restarts", 0):
            yield "restarts went back"
        for old, new in zip(before.status.get("stages", []), after.status.get("stages", []), strict=False):
            yield from _stage_goes_forward(old, new)
    for snapshot in record.snapshots:
        for word, text in _reasons(snapshot.status):
            if word not in _WORDS:
                yield f"unknown reason {word}: {text}"
            elif word in _TROUBLE:
                yield f"{word}: {text}"


def same_training(record: Record, calm: Record) -> Iterator[str]:
    """Every step of every attempt had the loss, and every stage made the model, that it has undisturbed."""
    expected = {(stage, step.step): step.loss for (stage, _), steps in calm.steps.items() for step in steps}
    for (stage, attempt), steps in record.steps.items():
        for step in steps:
            if (loss := expected.get((stage, step.step))) != step.loss:
                yield f"{stage} attempt {attempt} step {step.step}: loss {step.loss}, undisturbed {loss}"
                break
    for stage, digest in record.digests.items():
        if not digest or digest != calm.digests.get(stage):
            yield f"the model of {stage} is {digest or 'missing'}, undisturbed {calm.digests.get(stage)}"


def _touched(record: Record, hit: Injection, stage: str, attempt: int) -> bool:
    """Whether a fault struck an attempt, or was not over when it began."""
    if stage == "" or hit.stage == "":
        return hit.stage == stage
    if (hit.stage, hit.attempt) == (stage, attempt):
        return True
    gang = next((gang for gang in record.gangs if (gang.stage, gang.attempt) == (stage, attempt)), None)
    if gang is None:
        return False
    return hit.began <= gang.created <= hit.ended + _AFTERMATH


def _fits(hit: Injection, line: Mapping[str, Any]) -> bool:
    pattern = hit.strike.kind.reasons.get(line["reason"])
    return pattern is not None and re.search(pattern, line.get("message") or "") is not None


def _suspends(hit: Injection) -> bool:
    return hit.strike.fault == "suspended and resumed"


def _stage_goes_forward(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    name = new["name"]
    if new.get("attempt", 0) < old.get("attempt", 0):
        yield f"{name}: attempt went back from {old.get('attempt')} to {new.get('attempt', 0)}"
    if old["phase"] == "Succeeded" and new["phase"] != "Succeeded":
        yield f"{name} was Succeeded and is {new['phase']}"
    shown, shows = old.get("progress") or {}, new.get("progress") or {}
    if shown and shows and shown["attempt"] == shows["attempt"] and shows["step"] < shown["step"]:
        yield f"{name}: step went back from {shown['step']} to {shows['step']} within attempt {shows['attempt']}"
    if shown and shows and shows["attempt"] < shown["attempt"]:
        yield f"{name}: progress went back to attempt {shows['attempt']}"


def _reasons(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every reason that a status shows, with its message."""
    runs = [*status.get("stages", []), *([status["prepare"]] if status.get("prepare") else [])]
    entries = [*status.get("conditions", []), *runs, *(line for run in runs for line in run.get("failures") or ())]
    for entry in entries:
        if entry.get("reason"):
            yield entry["reason"], entry.get("message") or ""
