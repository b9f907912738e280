"""A simulated cluster with an operator that does what is planned."""

from __future__ import annotations

from typing import Any

from alignment_api.conditions import ConditionType
from alignment_api.contract import Summary
from alignment_api.v1alpha1 import AlignmentJobStatus, Condition, StageStatus
from alignment_operator.planning.actions import Plan
from alignment_operator.planning.plan import plan
from alignment_operator.status.conditions import holds

from .manifests import SETTINGS, alignment_job, pipeline_spec
from .simulated_cluster import SimulatedCluster


class Scene:
    """A cluster, and an operator that does what is planned."""

    def __init__(self, spec: dict[str, Any] | None = None) -> None:
        self.cluster = SimulatedCluster(alignment_job(spec))
        self.extra: dict[str, Any] = {}
        self.settings = SETTINGS

    def decide(self) -> Plan:
        return plan(self.cluster.job, self.cluster.observe(**self.extra), self.settings, self.cluster.now)

    def reconcile(self) -> Plan:
        decided = self.decide()
        self.cluster.carry_out(decided)
        return decided

    def run_pods(self) -> None:
        self.cluster.sync_jobs()
        for name in self.cluster.pods:
            self.cluster.run_pod(name)

    def end(self, part: str, code: int = 0, summary: Summary | None = None) -> None:
        """End the containers of the Pods whose names contain ``part``."""
        for name in self.cluster.pods:
            if part in name:
                self.cluster.end_pod(name, code, summary.to_termination_message() if summary else "")
        self.cluster.sync_jobs()

    def run_stage(self, part: str, summary: Summary | None = None) -> Plan:
        self.run_pods()
        self.end(part, 0, summary or Summary(exit_code=0))
        return self.reconcile()

    def until_first_gang(self) -> Plan:
        self.reconcile()
        return self.run_stage("-prepare-")

    @property
    def status(self) -> AlignmentJobStatus:
        return AlignmentJobStatus.model_validate(self.cluster.job["status"])

    def stage(self, name: str) -> StageStatus:
        return next(stage for stage in self.status.stages or [] if stage.name == name)

    def condition(self, kind: ConditionType) -> Condition:
        return next(condition for condition in self.status.conditions or [] if condition.type == kind)

    def holds(self, kind: ConditionType) -> bool:
        return holds(self.status.conditions, kind)

    def job_of(self, part: str) -> str:
        return max(name for name in self.cluster.jobs if part in name)


def one_stage_spec() -> dict[str, Any]:
    spec = pipeline_spec()
    return {**spec, "stages": spec["stages"][:1]}


def kinds(plan_made: Plan) -> list[str]:
    return [manifest["kind"] for manifest in plan_made.apply]


def started(**fields: Any) -> Scene:
    """A job of one stage of two Pods that run."""
    scene = Scene({**one_stage_spec(), **fields})
    scene.until_first_gang()
    scene.run_pods()
    scene.reconcile()
    return scene


def next_gang(scene: Scene) -> list[str]:
    """Arguments of the next attempt's Pods, once it begins."""
    for _ in range(6):
        decided = scene.reconcile()
        for manifest in decided.apply:
            if manifest["kind"] == "Job":
                arguments: list[str] = manifest["spec"]["template"]["spec"]["containers"][0]["args"]
                return arguments
        scene.cluster.stop_pods(75)
        if decided.wake_at is not None:
            scene.cluster.now = max(decided.wake_at, scene.cluster.now)
    raise AssertionError(scene.cluster.job["status"])
