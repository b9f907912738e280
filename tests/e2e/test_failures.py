"""What goes wrong, and what the user is told: bad rows, killed trainers, missing objects, deletion mid-run."""

from __future__ import annotations

import copy
import json
import re

import pytest

from tests.cluster.layout import VOLUMES

from .audit import created_jobs
from .harness import Cluster, example
from .namespace import Namespace, Object, condition, holds, stage

pytestmark = pytest.mark.e2e


def small_job(name: str, *, steps: int) -> Object:
    """The quickstart's first stage alone, with a checkpoint every few steps."""
    job = copy.deepcopy(example("quickstart/alignmentjob.yaml"))
    job["metadata"]["name"] = name
    first = job["spec"]["stages"][0]
    first["training"].update(maxSteps=steps, loggingSteps=2, checkpoint={"everySteps": 20, "keep": 2})
    job["spec"]["stages"] = [first]
    del job["spec"]["promotion"]
    return job


@pytest.mark.timeout(300)
def test_bad_rows_in_the_last_stage_are_found_before_any_gang(cluster: Cluster, seeded: Namespace) -> None:
    job = small_job("bad-rows", steps=20)
    job["spec"]["stages"].append(
        {
            "name": "last",
            "model": {"fromStage": job["spec"]["stages"][0]["name"]},
            "dataset": {
                "inline": {
                    "rows": [
                        {"prompt": "Hello", "chosen": "Hi, how are you?", "rejected": "What."},
                        {"prompt": "Bye", "chosen": "", "rejected": "Go."},
                        {"prompt": "Thanks", "chosen": "Sure.", "rejected": "Sure."},
                    ]
                }
            },
            "dpo": {},
            "training": {"globalBatchSize": 2},
        }
    )
    seeded.apply(job)
    finished = seeded.wait_finished("bad-rows", 120)
    failed = condition(finished, "Failed")
    assert failed is not None
    assert failed["reason"] == "DataError"
    assert "spec.stages[1].dataset" in failed["message"]
    assert "row 2" in failed["message"]
    assert "row 3" in failed["message"]
    assert stage(finished, "last")["phase"] in ("Failed", "Skipped")
    # Nothing but the Prepare Job ever existed, by the API server's own record.
    mine = [name for name in created_jobs(cluster.audit_log, seeded.name) if name.startswith("bad-rows-")]
    assert len(mine) == 1
    assert "prepare" in mine[0]


@pytest.mark.timeout(500)
def test_a_gang_goes_on_from_checkpoints_after_a_kill_and_a_suspension(cluster: Cluster, seeded: Namespace) -> None:
    seeded.apply(small_job("hurt", steps=240))
    seeded.wait_for("hurt", "a checkpoint", lambda job: "checkpoint" in stage(job, "sft"), 200)
    steps: list[int] = []

    def note_steps(job: Object) -> None:
        if (progress := stage(job, "sft").get("progress")) is not None:
            steps.append(progress["step"])

    # A training process on the second Pod is killed: the whole gang starts again, as attempt 2.
    victim = next(
        pod
        for pod in seeded.pods("hurt", "sft")
        if pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "1"
    )
    cluster.kill_training_process(seeded, victim["metadata"]["name"])
    killed = seeded.wait_for("hurt", "attempt 2", lambda job: stage(job, "sft").get("attempt") == 2, 90)
    known = stage(killed, "sft")["checkpoint"]["step"]
    assert known >= 20

    def has_new_checkpoint(job: Object) -> bool:
        note_steps(job)
        return "/attempts/2/" in stage(job, "sft")["checkpoint"]["path"]

    seeded.wait_for("hurt", "a checkpoint of attempt 2", has_new_checkpoint, 150)
    log = seeded.run("logs", f"job/{_job_of_attempt(seeded, 'hurt', 2)}", "--tail=-1")
    resumed = re.search(r"resuming from step (\d+): \S+/attempts/1/checkpoints/checkpoint-\1", log)
    assert resumed, log
    # The gang may have saved once more before it died than the status knew.
    assert int(resumed[1]) >= known

    # Suspended, it lets go of its Pods; resumed, it goes on as attempt 3.
    seeded.run("patch", "aj", "hurt", "--type=merge", "-p", json.dumps({"spec": {"suspend": True}}))
    seeded.wait_for("hurt", "suspended", lambda job: holds(job, "Suspended"), 30)
    seeded.wait_for("hurt", "no Pod left", lambda _: not _live(seeded.pods("hurt", "sft")), 60)
    seeded.run("patch", "aj", "hurt", "--type=merge", "-p", json.dumps({"spec": {"suspend": False}}))

    def finished(job: Object) -> bool:
        note_steps(job)
        return holds(job, "Complete") or holds(job, "Failed")

    job = seeded.wait_for("hurt", "finished", finished, 250)
    assert holds(job, "Complete"), job["status"]
    result = stage(job, "sft")
    assert result["progress"]["step"] == 240
    assert result["attempt"] == 3
    assert [(failure["attempt"], failure["reason"]) for failure in result["failures"]] == [(1, "ProcessKilled")]
    assert job["status"]["restarts"] == 1, "a suspension is no failure"
    # Step numbers went on: nothing was shown from before the checkpoint that attempt 2 began from.
    assert steps
    assert min(steps) >= known


def _job_of_attempt(namespace: Namespace, name: str, attempt: int) -> str:
    jobs = namespace.items("jobs", f"alignment.dev/job-name={name},alignment.dev/attempt={attempt}")
    gangs = [job for job in jobs if job["metadata"]["labels"]["alignment.dev/role"] == "train"]
    found: str = gangs[0]["metadata"]["name"]
    return found


@pytest.mark.timeout(300)
def test_deletion_mid_run_leaves_nothing_but_where_a_hung_gang_was(cluster: Cluster, seeded: Namespace) -> None:
    seeded.apply(small_job("deleted", steps=4000))
    seeded.wait_for("deleted", "a step", lambda job: stage(job, "sft").get("progress", {}).get("step", 0) > 0, 150)
    first, second = (pod["metadata"]["name"] for pod in seeded.pods("deleted", "sft"))
    cluster.hang_training_process(seeded, first)
    seeded.run("delete", "alignmentjob", "deleted", "--timeout=60s")
    left = cluster.wait_gone(seeded, "alignment.dev/job-name=deleted", timeout=90)
    assert left == []
    # Taken in a Pod of the restricted profile, with no capability and the runtime's default seccomp filter. Its peer
    # may end by itself before its own wait is over: it loses the process that hung as soon as that is killed.
    (evidence,) = VOLUMES.glob(f"*/jobs/{seeded.name}/deleted-*/sft/attempts/1/evidence")
    assert "alignment_trainer/train.py" in (evidence / "stacks-0.txt").read_text()
    endings = [json.loads((evidence / f"ending-{rank}.json").read_text()) for rank in (0, 1)]
    assert {ending["pod"] for ending in endings} == {first, second}
    assert all(ending["node"].startswith("node-") and ending["class"] == "Preempted" for ending in endings)


def _live(pods: list[Object]) -> list[Object]:
    return [pod for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("change", "reason", "fragments"),
    [
        (
            {"workspace": {"persistentVolumeClaim": {"claimName": "no-such-claim"}}},
            "MissingClaim",
            ["spec.workspace.persistentVolumeClaim.claimName", "no-such-claim"],
        ),
        (
            {"model": {"huggingFace": {"repository": "a/b", "tokenSecretRef": {"name": "no-such-secret"}}}},
            "MissingSecret",
            ["no-such-secret"],
        ),
        (
            {"runtime": {"nodes": 1, "resources": {"limits": {"nvidia.com/gpu": 2}}}},
            "InvalidSpec",
            ["spec.runtime.processesPerNode", "nvidia.com/gpu"],
        ),
    ],
    ids=["claim", "secret", "gpus"],
)
def test_what_is_missing_is_named(
    seeded: Namespace, change: Object, reason: str, fragments: list[str], request: pytest.FixtureRequest
) -> None:
    job = small_job(f"missing-{request.node.callspec.id}", steps=20)
    job["spec"].update(change)
    seeded.apply(job)

    def told(observed: Object) -> bool:
        stalled = condition(observed, "Stalled")
        return stalled is not None and stalled["status"] == "True" and stalled["reason"] == reason

    told_job = seeded.wait_for(job["metadata"]["name"], reason, told, 60)
    stalled = condition(told_job, "Stalled")
    assert stalled is not None
    for fragment in fragments:
        assert fragment in stalled["message"]
    seeded.run("delete", "alignmentjob", job["metadata"]["name"])
