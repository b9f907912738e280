"""All runs of a seed, one after the other: what was wrong with each, and what its faults cost."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.cluster import install
from tests.cluster.layout import LOGS
from tests.cluster.shell import ClusterError, say
from tests.e2e.harness import Cluster

from . import world
from .invariants import violations
from .measures import Measure, as_json, measures_of, table
from .record import Record
from .run import play
from .scene import Scene
from .schedule import RunPlan

_OPERATOR_LOG_LINES: Final = "--tail=2000"


@dataclass
class Result:
    """What a suite found.

    Attributes:
        measures: one for each fault.
        wrong: what was wrong, by the seed of the run.
        seconds: how long the runs took.
    """

    measures: list[Measure] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def text(self) -> str:
        """The table, and everything that was wrong."""
        lines = [table(self.measures), "", f"{len(self.measures)} faults in {self.seconds / 60:.1f} minutes"]
        for seed, found in self.wrong.items():
            lines += [f"run {seed}:", *(f"  - {text}" for text in found)]
        return "\n".join([*lines, f"{len(self.wrong)} runs with something wrong"])

    def write(self, path: Path) -> None:
        """The same for programs."""
        document = {"faults": as_json(self.measures), "wrong": self.wrong, "seconds": self.seconds}
        path.write_text(json.dumps(document, indent=1))


def run_all(
    cluster: Cluster, plans: Sequence[RunPlan], result: Result, *, nodes: int, minutes: float | None = None
) -> None:
    """An undisturbed run, then all of ``plans``; after ``minutes`` no other one begins.

    What is found is added to ``result``, which so tells of the runs before an interruption too.
    """
    began = time.monotonic()
    say("undisturbed run")
    calm = play(RunPlan("calm", max((plan.stages for plan in plans), key=len), ()))
    for plan in plans:
        if minutes is not None and time.monotonic() - began > 60 * minutes:
            say(f"time is up: {plan.seed} and those after it are left out")
            break
        say(f"run {plan.seed}: {', '.join(plan.stages)}; {', '.join(strike.fault for strike in plan.strikes)}")
        found = _run_one(cluster, plan, calm, result, nodes)
        if found:
            result.wrong[plan.seed] = found
            for text in found:
                say(f"  WRONG {text}")
        result.seconds = time.monotonic() - began


def _run_one(cluster: Cluster, plan: RunPlan, calm: Record, result: Result, nodes: int) -> list[str]:
    try:
        record = play(plan)
    except ClusterError as error:
        _keep_evidence(cluster, plan, None)
        world.make_whole(nodes)
        _remove_jobs(cluster)
        return [str(error)]
    result.measures += measures_of(record)
    found = violations(record, calm)
    if found:
        _keep_evidence(cluster, plan, record)
    return found


def _keep_evidence(cluster: Cluster, plan: RunPlan, record: Record | None) -> None:
    """Keep what explains a violation: plan, status and its history, the operator's log."""
    folder = LOGS / "chaos" / plan.seed.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.txt").write_text("\n".join(map(str, plan.strikes)))
    for name, arguments in {
        "jobs.json": ("get", "alignmentjobs", "-n", world.NAMESPACE, "-o", "json"),
        "pods.json": ("get", "pods", "-n", world.NAMESPACE, "-o", "json"),
        "operator.log": ("logs", "-n", install.OPERATOR_NAMESPACE, f"deploy/{install.RELEASE}", _OPERATOR_LOG_LINES),
    }.items():
        (folder / name).write_text(cluster.kubectl.run(*arguments, check=False))
    if record is not None:
        (folder / "record.txt").write_text("\n".join(map(str, (*record.injections, *record.gangs))))
        statuses = [{"time": seen.time, **seen.status} for seen in record.snapshots]
        (folder / "statuses.json").write_text(json.dumps(statuses, indent=1))
        (folder / "job.json").write_text(json.dumps(record.job, indent=1))
    say(f"  evidence: {folder}")


def _remove_jobs(cluster: Cluster) -> None:
    """Remove the job of a run that was broken off, and wait until nothing of it is left."""
    for job in cluster.kubectl.items("alignmentjobs", namespace=world.NAMESPACE):
        scene = Scene(world.NAMESPACE, job["metadata"]["name"])
        scene.delete()
        world.orphans(scene, set())
