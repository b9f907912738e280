"""One run: a job from its creation to its end, struck on the way, and everything that is then known of it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from alignment_api.contract import JobLayout, JobReference
from tests.cluster import volumes
from tests.cluster.layout import AUDIT_LOG
from tests.cluster.shell import ClusterError, say
from tests.e2e.audit import writes

from . import world
from .gang import PREPARE
from .history import Step, gangs_of, steps_of
from .moments import wait_for_moment, wait_until_settled
from .observer import Observer
from .record import Injection, Record
from .scene import Scene, wait_until
from .schedule import RunPlan
from .strikes import strike_now

_FINISH: Final = 400.0


def play(plan: RunPlan) -> Record:
    """Run a plan to its end.

    Raises:
        ClusterError: a strike could not be carried out, or the job came to no end.
    """
    name = "chaos-" + plan.seed.replace("/", "-")
    scene = Scene(world.NAMESPACE, name)
    scene.create(world.manifest(plan, name))
    with Observer(world.NAMESPACE, name) as observer:
        injections = _strike_all(scene, plan)
        if not wait_until(lambda: _finished(scene), _FINISH, 0.5):
            raise ClusterError(f"{name} does not end: {scene.job().get('status')}")
    job = scene.job()
    time.sleep(1)  # the audit log is written after the answers
    record_of_writes = writes(AUDIT_LOG, world.NAMESPACE)
    pods = {pod["metadata"]["uid"] for pod in scene.children("pods")}
    layout = JobLayout(
        workspace=volumes.small(), job=JobReference(namespace=world.NAMESPACE, name=name, uid=job["metadata"]["uid"])
    )
    steps = _steps(layout, plan)
    scene.delete()
    left = world.orphans(scene, pods)
    shutil.rmtree(layout.root)  # the volume is small
    return Record(
        plan=plan,
        job=job,
        injections=injections,
        snapshots=observer.snapshots,
        gangs=gangs_of(record_of_writes, name),
        steps=steps,
        twice_alive=frozenset(observer.twice_alive),
        orphans=left,
    )


def _strike_all(scene: Scene, plan: RunPlan) -> list[Injection]:
    injections: list[Injection] = []
    after: dict[str, int] = {}
    for strike in plan.strikes:
        victim = wait_for_moment(scene, strike, after.get(strike.stage, 0))
        if victim is None:
            say(f"  missed: {strike.fault} ({strike.when})")
            continue
        said = victim.progress()
        doing = f"{said.phase} {said.step}" if said else ""
        began = time.time()
        strike_now(scene, strike, victim)
        ended = time.time()
        injections.append(Injection(strike, victim.stage, victim.attempt, doing, began, ended))
        say(f"  {strike.fault}: {victim.stage or 'prepare'}/{victim.attempt} rank {victim.rank} {doing}")
        if victim.stage != PREPARE:
            after[strike.stage] = wait_until_settled(scene, strike, victim)
    return injections


def _finished(scene: Scene) -> bool:
    return scene.job().get("status", {}).get("phase") in ("Succeeded", "Failed")


def _steps(layout: JobLayout, plan: RunPlan) -> dict[tuple[str, int], list[Step]]:
    """What each attempt at each stage logged."""
    found = {}
    for stage in plan.stages:
        for folder in sorted((layout.stage(stage).root / "attempts").glob("*"), key=_number):
            metrics = layout.stage(stage).attempt(_number(folder)).metrics
            found[stage, _number(folder)] = steps_of(metrics.read_text().splitlines()) if metrics.exists() else []
    return found


def _number(folder: Path) -> int:
    return int(folder.name)
