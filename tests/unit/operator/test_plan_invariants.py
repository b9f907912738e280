"""What holds whatever happens: random histories of a simulated cluster drive the plan."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alignment_api import labels
from alignment_api.contract import Progress, TrainerPhase
from alignment_api.v1alpha1 import TERMINAL_JOB_PHASES, AlignmentJobStatus
from alignment_operator.planning.actions import Plan
from alignment_operator.planning.attempts import PREPARE, PROMOTION
from alignment_operator.planning.observed import GangProgress
from alignment_operator.planning.plan import plan

from .manifests import EPOCH, SETTINGS, alignment_job, pipeline_spec
from .simulated_cluster import SimulatedCluster, run_of

MAX_ROUNDS = 400
EXIT_CODES = [137, 76, 143, 75, 69, 139, 71]
"""The last one ends the job; the others let the history go on."""


class Histories(RuleBasedStateMachine):
    """Anything may happen to Pods, Jobs and the operator; its view of the cluster is never behind."""

    may_lag = False

    def __init__(self) -> None:
        super().__init__()
        self.cluster = SimulatedCluster(alignment_job())
        self.progress: dict[tuple[str, int], GangProgress] = {}
        self.final: dict[str, Any] | None = None
        self.ever_suspended = False
        self.good_end = '{"exitCode": 0}'
        self.others: dict[str, dict[str, Any]] = {}

    @initialize(
        parallel=st.integers(1, 3),
        retries=st.sampled_from([8, 3, 0]),
        deadline=st.sampled_from([None, None, 5000]),
        nodes=st.integers(1, 2),
        stages_done=st.integers(0, 5),
        queue=st.booleans(),
        promotion=st.sampled_from([True, True, False]),
        gate=st.sampled_from([True, True, True, False, None]),
        waits=st.booleans(),
    )
    def begin(
        self,
        parallel: int,
        retries: int,
        deadline: int | None,
        nodes: int,
        stages_done: int,
        queue: bool,
        promotion: bool,
        gate: bool | None,
        waits: bool,
    ) -> None:
        policy = {"maxParallelStages": parallel, "retries": {"infrastructure": retries}}
        if deadline is not None:
            policy["activeDeadlineSeconds"] = deadline
        spec = pipeline_spec(runPolicy=policy)
        spec["runtime"]["nodes"] = nodes
        if queue:
            spec["scheduling"] = {"queueName": "team-a"}
        if waits:
            spec["model"] = {"fromJob": {"name": "earlier", "stage": "sft"}}
            self.other_job_changes("Succeeded", 0)
        if promotion:
            spec["promotion"] = {"to": [{"volume": {"path": "models/best"}}]}
        if gate is not None:
            gates = [{"metric": "winRate", "passed": gate, "value": 0.6, "samples": 8}]
            self.good_end = json.dumps({"exitCode": 0, "gates": gates})
        self.may_promote = promotion and bool(gate)
        self.cluster.job["spec"] = spec
        self.parallel = parallel
        for _ in range(stages_done):
            self.all_goes_well()

    @rule()
    def all_goes_well(self) -> None:
        """For a while: Pods that run succeed, and what follows from that is started and runs."""
        self.all_pods_succeed()
        self.reconcile()
        self.kueue_admits()
        self.run_all_pods()
        self.reconcile()

    # The operator.

    def decide(self) -> Plan:
        observed = self.cluster.observe(progress=dict(self.progress), asking_since=EPOCH, other_jobs=dict(self.others))
        first = plan(self.cluster.job, observed, SETTINGS, self.cluster.now)
        assert first == plan(self.cluster.job, observed, SETTINGS, self.cluster.now), "planning twice differs"
        assert first.status is not None
        written = json.loads(json.dumps(first.status.to_yaml_dict()))
        assert AlignmentJobStatus.model_validate(written) == first.status, "the status is not valid"
        return first

    @rule(rounds=st.integers(1, 3))
    def reconcile(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self.cluster.carry_out(self.decide())
            self.cluster.sync_jobs()

    @rule(steps=st.integers(0, 4))
    def reconcile_and_be_killed(self, steps: int) -> None:
        self.cluster.carry_out(self.decide(), steps)
        self.cluster.catch_up()

    @precondition(lambda self: self.may_lag)
    @rule()
    def lag(self) -> None:
        self.cluster.hold_back()

    @precondition(lambda self: self.may_lag)
    @rule()
    def catch_up(self) -> None:
        self.cluster.catch_up()

    # The cluster.

    @rule(phase=st.sampled_from(["Succeeded", "Running", "Failed"]), model=st.integers(0, 2))
    def other_job_changes(self, phase: str, model: int) -> None:
        """It may be made anew, and then has another model."""
        result = {"path": f"models/{model}", "digest": "sha256:0"}
        stage = {"name": "sft", "method": "sft", "phase": "Succeeded", "model": result}
        status = {"phase": phase, "stages": [stage]}
        self.others["earlier"] = {**alignment_job(name="earlier", uid=f"uid-{model}"), "status": status}

    @rule()
    def other_job_is_deleted(self) -> None:
        self.others.clear()

    @rule(seconds=st.sampled_from([1, 7, 40, 200, 2000]))
    def pass_time(self, seconds: int) -> None:
        self.cluster.pass_time(seconds)

    @rule()
    def kueue_admits(self) -> None:
        for name in self.cluster.jobs:
            self.cluster.admit(name)
        self.cluster.sync_jobs()

    @precondition(lambda self: self.cluster.jobs and "scheduling" in self.cluster.job["spec"])
    @rule(data=st.data())
    def kueue_takes_back(self, data: st.DataObject) -> None:
        self.cluster.take_back(data.draw(st.sampled_from(sorted(self.cluster.jobs))))

    @rule()
    def run_all_pods(self) -> None:
        for name in self.cluster.pods:
            self.cluster.run_pod(name)

    @rule()
    def all_pods_succeed(self) -> None:
        for name in self.cluster.pods:
            self.cluster.end_pod(name, 0, self.good_end)
        self.cluster.sync_jobs()

    @precondition(lambda self: self.pods_in("Running"))
    @rule(data=st.data())
    def pod_succeeds(self, data: st.DataObject) -> None:
        """The Job controller comes to know later."""
        self.cluster.end_pod(data.draw(st.sampled_from(self.pods_in("Running"))), 0, self.good_end)

    @precondition(lambda self: self.pods_in("Running"))
    @rule(data=st.data(), code=st.sampled_from(EXIT_CODES), message=st.sampled_from(["", "{", '{"exitCode": 1e999}']))
    def pod_fails(self, data: st.DataObject, code: int, message: str) -> None:
        self.cluster.end_pod(data.draw(st.sampled_from(self.pods_in("Running"))), code, message)
        self.cluster.sync_jobs()

    @precondition(lambda self: self.pods_in("Pending", "Running"))
    @rule(
        data=st.data(),
        reason=st.sampled_from(["PreemptionByScheduler", "EvictionByEvictionAPI", "DeletionByTaintManager"]),
    )
    def pod_is_disrupted(self, data: st.DataObject, reason: str) -> None:
        self.cluster.disrupt_pod(data.draw(st.sampled_from(self.pods_in("Pending", "Running"))), reason)

    @precondition(lambda self: self.cluster.pods)
    @rule(data=st.data())
    def pod_is_deleted(self, data: st.DataObject) -> None:
        self.cluster.delete_pod(data.draw(st.sampled_from(sorted(self.cluster.pods))))

    @rule(code=st.sampled_from([75, 143, 137]))
    def kubelets_stop_pods(self, code: int) -> None:
        self.cluster.stop_pods(code)

    @precondition(lambda self: self.recorded_jobs())
    @rule(data=st.data())
    def job_is_deleted(self, data: st.DataObject) -> None:
        """By a person; not in the instant between its creation and the first status that knows it."""
        self.cluster.delete_job(data.draw(st.sampled_from(self.recorded_jobs())))

    @rule(step=st.integers(0, 50), phase=st.sampled_from(TrainerPhase))
    def gangs_report(self, step: int, phase: TrainerPhase) -> None:
        for stage, numbers in self.cluster.live_attempts(with_stopping=False).items():
            for number in numbers if stage not in (PREPARE, PROMOTION) else ():
                report = Progress(
                    stage=stage, attempt=number, phase=phase, step=step, total_steps=50, updated_at=self.cluster.now
                )
                self.progress[stage, number] = GangProgress(report, self.cluster.now)

    @rule()
    def toggle_suspend(self) -> None:
        self.ever_suspended = True
        spec = self.cluster.job["spec"]
        spec["suspend"] = not spec.get("suspend", False)
        self.cluster.job["metadata"]["generation"] += 1

    def pods_in(self, *phases: str) -> list[str]:
        return sorted(name for name, pod in self.cluster.pods.items() if pod["status"]["phase"] in phases)

    def recorded_jobs(self) -> list[str]:
        status = self.cluster.job.get("status", {})
        known = {stage["name"]: stage["attempt"] for stage in status.get("stages", [])}
        known[PREPARE] = status.get("prepare", {}).get("attempt", 0)
        known[PROMOTION] = status.get("promotion", {}).get("attempt", 0)
        return sorted(
            name
            for name, job in self.cluster.jobs.items()
            if int(job["metadata"]["labels"][labels.ATTEMPT]) <= known.get(run_of(job), 0)
        )

    # What must hold.

    @invariant()
    def one_live_attempt_a_stage(self) -> None:
        live = self.cluster.live_attempts(with_stopping=not self.may_lag)
        assert all(len(numbers) == 1 for numbers in live.values()), live

    @invariant()
    def no_more_gangs_than_allowed(self) -> None:
        if self.cluster.now > EPOCH:
            live = self.cluster.live_attempts(with_stopping=not self.may_lag)
            gangs = [stage for stage in live if stage not in (PREPARE, PROMOTION)]
            assert len(gangs) <= self.parallel, gangs

    @invariant()
    def no_number_twice(self) -> None:
        assert all(count == 1 for count in self.cluster.created.values()), self.cluster.created

    @invariant()
    def no_failure_forgotten_or_counted_twice(self) -> None:
        if self.ever_suspended:
            return
        status = self.cluster.job.get("status", {})
        for run in [status.get("prepare", {}), *status.get("stages", []), status.get("promotion", {})]:
            number = run.get("attempt", 0)
            failed = [failure["attempt"] for failure in run.get("failures", [])]
            assert failed[-9:] in (list(range(1, number))[-9:], list(range(1, number + 1))[-9:]), run

    @invariant()
    def no_gang_unprepared(self) -> None:
        prepared = any("-prepare-" in name for name in self.cluster.succeeded)
        gangs = [name for name in self.cluster.created if "-prepare-" not in name]
        assert prepared or not gangs

    @invariant()
    def no_promotion_unless_all_stages_succeeded_and_their_gates_hold(self) -> None:
        promotions = [name for name in self.cluster.created if "-promote-" in name]
        assert not promotions or self.may_promote
        succeeded = [stage for stage in ("sft", "reward", "dpo", "check") if self.has_succeeded(stage)]
        assert not promotions or len(succeeded) == 4, succeeded

    def has_succeeded(self, stage: str) -> bool:
        return any(f"-{stage}-" in name for name in self.cluster.succeeded)

    @invariant()
    def all_pods_of_a_job_see_one_configuration(self) -> None:
        """So that a model of another job is the same for all of them."""
        volumes = [
            volume
            for job in self.cluster.jobs.values()
            for volume in job["spec"]["template"]["spec"]["volumes"]
            if volume["name"] == "run-config"
        ]
        assert all(volume == volumes[0] for volume in volumes)

    @invariant()
    def promoted_is_true_of_what_is_promoted(self) -> None:
        conditions = {one["type"]: one for one in self.cluster.job.get("status", {}).get("conditions", [])}
        if conditions.get("Promoted", {}).get("status") == "True" and "promotion" in self.cluster.job["spec"]:
            assert self.has_succeeded("promote")
        if conditions.get("Complete", {}).get("status") == "True" and self.may_promote:
            assert conditions["Promoted"]["status"] == "True"

    @invariant()
    def the_end_is_the_end(self) -> None:
        status = self.cluster.job.get("status", {})
        if self.final is not None:
            assert _without_generation(status) == self.final
        elif status.get("phase") in TERMINAL_JOB_PHASES:
            self.final = _without_generation(status)

    def teardown(self) -> None:
        """When nothing bad happens any more, the job comes to its end, and then nothing is left running."""
        cluster = self.cluster
        cluster.catch_up()
        cluster.job["spec"]["suspend"] = False
        self.other_job_changes("Succeeded", 1)
        for _ in range(MAX_ROUNDS):
            decided = self.decide()
            cluster.carry_out(decided)
            if cluster.job["status"]["phase"] in TERMINAL_JOB_PHASES:
                break
            before = json.dumps([cluster.jobs, cluster.pods], default=str)
            self.kueue_admits()
            self.all_pods_succeed()
            self.run_all_pods()
            cluster.stop_pods(143)
            if json.dumps([cluster.jobs, cluster.pods], default=str) == before:
                assert decided.wake_at is not None, f"nothing would ever happen again: {cluster.job['status']}"
                cluster.pass_time(max(0.0, (decided.wake_at - cluster.now).total_seconds()))
        assert cluster.job["status"]["phase"] in TERMINAL_JOB_PHASES
        for _ in range(3):
            cluster.carry_out(self.decide())
            cluster.sync_jobs()
            cluster.stop_pods(143)
        assert not cluster.live_attempts(with_stopping=True)
        last = self.decide()
        assert (last.apply, last.delete, last.events, last.urgent) == ((), (), (), False)


class LaggingHistories(Histories):
    """The operator's view of the cluster may stand still, but holds what it wrote itself."""

    may_lag = True


def _without_generation(status: dict[str, Any]) -> dict[str, Any]:
    conditions = [{**condition, "observedGeneration": 0} for condition in status["conditions"]]
    return {**status, "observedGeneration": 0, "conditions": conditions}


_LIMITS = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestHistories = Histories.TestCase
TestHistories.settings = _LIMITS
TestLaggingHistories = LaggingHistories.TestCase
TestLaggingHistories.settings = _LIMITS
