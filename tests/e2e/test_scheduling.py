"""Gangs that wait for a queue's quota, are preempted, or hold only some of the nodes they need."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.cluster import kueue
from tests.cluster.layout import CHECKOUT, VOLUMES

from .audit import created_jobs
from .harness import Cluster
from .namespace import Namespace, Object, condition, holds, stage
from .test_failures import small_job

pytestmark = pytest.mark.e2e

_QUEUE, _OTHER_QUEUE = "first", "other"
_NODE = "node-1"


@pytest.fixture(scope="module")
def queue(cluster: Cluster, seeded: Namespace) -> Iterator[Namespace]:
    """The seeded namespace, with two Kueue queues that share room for the two Pods of one gang."""
    kueue.install(cluster.kubectl)
    try:
        queues = (_QUEUE, _OTHER_QUEUE)
        kueue.create_queues(cluster.kubectl, seeded.name, queues, pods=2, priorities={"low": 1, "urgent": 100})
        yield seeded
    finally:
        kueue.uninstall(cluster.kubectl)


def queued_job(name: str, queue: str, priority: str, *, steps: int) -> Object:
    """A small job that goes through a queue and writes checkpoints only when it is told to stop."""
    job = small_job(name, steps=steps)
    job["spec"]["scheduling"] = {"queueName": queue, "workloadPriorityClass": priority}
    job["spec"]["stages"][0]["training"].update(loggingSteps=1, checkpoint={"everySteps": 10_000, "keep": 2})
    return job


def set_suspend(namespace: Namespace, name: str, value: bool) -> None:
    namespace.run("patch", "aj", name, "--type=merge", "-p", json.dumps({"spec": {"suspend": value}}))


def live_pods(namespace: Namespace, name: str) -> list[str]:
    pods = namespace.pods(name, "sft")
    return [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]


def steps_of_attempt(namespace: Namespace, job: Object, attempt: int) -> list[int]:
    """The steps that an attempt reported, from its own record in the workspace."""
    folder = f"{job['metadata']['name']}-{job['metadata']['uid'][:8]}/sft/attempts/{attempt}/metrics.jsonl"
    (record,) = VOLUMES.glob(f"*/jobs/{namespace.name}/{folder}")
    return [json.loads(line)["step"] for line in record.read_text().splitlines()]


@pytest.mark.timeout(1200)
def test_gangs_take_turns_in_a_queue(cluster: Cluster, queue: Namespace) -> None:
    # Two jobs wait in a queue that is held, so that all are prepared when the first one trains.
    kueue.hold(queue.kubectl, queue.name, _OTHER_QUEUE, True)
    second = queued_job("second", _OTHER_QUEUE, "low", steps=6)
    second["metadata"]["labels"] = {"argocd.argoproj.io/instance": "team"}
    second["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = 0
    urgent = queued_job("urgent", _OTHER_QUEUE, "urgent", steps=6)
    urgent["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = 10
    for job in (queued_job("low", _QUEUE, "low", steps=200), second, urgent):
        queue.apply(job)

    def says(words: str) -> Callable[[Object], bool]:
        return lambda job: words in stage(job, "sft").get("message", "")

    for name in ("second", "urgent"):
        waiting = queue.wait_for(name, "queued", says(f"LocalQueue {_OTHER_QUEUE} is"), 200)
        assert stage(waiting, "sft")["phase"] == "Queued"
        assert (condition(waiting, "Reconciling") or {})["reason"] == "Queued"

    # Suspended in the queue, a job leaves it, Workload and all.
    set_suspend(queue, "second", True)
    queue.wait_for("second", "suspended", lambda job: holds(job, "Suspended"), 60)
    queue.wait_for("second", "out of the queue", lambda _: len(kueue.workloads(queue.kubectl, queue.name)) == 2, 60)
    set_suspend(queue, "second", False)
    queue.wait_for("second", "queued again", lambda job: stage(job, "sft").get("attempt") == 2, 60)
    assert live_pods(queue, "second") == live_pods(queue, "urgent") == []

    # The urgent gang takes the quota: the first writes a checkpoint and waits for its turn, as another attempt.
    queue.wait_for("low", "steps", lambda job: stage(job, "sft").get("progress", {}).get("step", 0) > 0, 300)
    kueue.hold(queue.kubectl, queue.name, _OTHER_QUEUE, False)
    no_room = says("insufficient unused quota for pods")
    queue.wait_for("second", "waiting for room", no_room, 60)
    preempted = queue.wait_for(
        "low", "queued again", lambda job: no_room(job) and stage(job, "sft")["attempt"] == 2, 200
    )
    (failure,) = stage(preempted, "sft")["failures"]
    assert (failure["attempt"], failure["reason"]) == (1, "Preempted")
    assert "failures" not in preempted["status"], "preemption is free"
    assert preempted["status"]["restarts"] == 1
    reached = steps_of_attempt(queue, preempted, 1)[-1]
    assert 0 < reached < 200
    assert stage(preempted, "sft")["checkpoint"]["step"] >= reached - 1, "at most one step is lost"

    # The urgent gang ends, then the one that had waited longest; what they leave behind goes as they asked.
    assert holds(queue.wait_finished("urgent", 300), "Complete")
    assert holds(queue.wait_finished("second", 300), "Complete")
    expired = queue.wait_for("second", "expired", lambda job: "expirationTime" in job["status"], 60)
    assert expired["status"]["phase"] == "Succeeded"
    assert cluster.wait_gone(queue, "alignment.dev/job-name=second", 60) == []
    queue.wait_for("urgent", "gone", lambda job: job == {}, 60)
    assert cluster.wait_gone(queue, "alignment.dev/job-name=urgent", 60) == []

    # Suspended just as Kueue admits it, the gang stops, whoever comes first, and stays stopped.
    queue.wait_for("low", "admitted", lambda job: stage(job, "sft")["phase"] in ("Starting", "Running"), 100)
    set_suspend(queue, "low", True)
    queue.wait_for("low", "without Pods", lambda job: holds(job, "Suspended") and not live_pods(queue, "low"), 150)
    quiet = queue.get("aj", "low")["metadata"]["resourceVersion"]
    time.sleep(3)
    assert live_pods(queue, "low") == []
    assert queue.get("aj", "low")["metadata"]["resourceVersion"] == quiet
    queue.wait_for("low", "out of the queue", lambda _: kueue.workloads(queue.kubectl, queue.name) == [], 30)

    # Back from the queue it goes on from what it wrote when it was preempted.
    set_suspend(queue, "low", False)
    job = queue.wait_finished("low", 400)
    assert holds(job, "Complete"), job["status"]
    result = stage(job, "sft")
    assert (result["attempt"], result["progress"]["step"]) == (3, 200)
    pods = queue.items("pods", "alignment.dev/job-name=low,alignment.dev/attempt=3,alignment.dev/role=train")
    log = "".join(queue.run("logs", pod["metadata"]["name"], "--tail=-1") for pod in pods)
    resumed = re.search(r"resuming from step (\d+): \S+/attempts/([12])/checkpoints/", log)
    assert resumed, log
    assert int(resumed[1]) >= reached - 1, "at most one step is lost"
    gangs = [name for name in created_jobs(cluster.audit_log, queue.name).items() if name[0].startswith("low-sft-")]
    assert sorted(count for _, count in gangs) == [1, 1, 1], "three attempts, each made once"


def test_the_example_is_accepted_by_kueue(queue: Namespace) -> None:
    printed = queue.run("apply", "--dry-run=server", "-f", str(CHECKOUT / "examples" / "scheduling" / "kueue.yaml"))
    assert len(re.findall(r"created \(server dry run\)", printed)) == 5, printed


def offer(cluster: Cluster, **amounts: int) -> None:
    """Let the node offer so much of made-up resources."""
    names = {f"example.com/{name}": str(amount) for name, amount in amounts.items()}
    patch = {"status": {"capacity": names, "allocatable": names}}
    cluster.kubectl.run("patch", "node", _NODE, "--subresource=status", "--type=merge", "-p", json.dumps(patch))


def claiming_job(name: str, *resources: str) -> Object:
    """A small job whose two Pods each take one of the given made-up resources."""
    job = small_job(name, steps=6)
    claimed = {f"example.com/{resource}": 1 for resource in resources}
    job["spec"]["runtime"]["resources"]["limits"] = {"memory": "4Gi", **claimed}
    job["spec"]["scheduling"] = {"placementDeadlineSeconds": 10}
    return job


@pytest.mark.timeout(900)
def test_two_half_gangs_do_not_wait_for_each_other(cluster: Cluster, seeded: Namespace) -> None:
    # Two slots, and each gang needs both of them. At first each can only place one Pod.
    offer(cluster, slot=2, left=0, right=0)
    for name in ("left", "right"):
        seeded.apply(claiming_job(name, "slot", name))
    seeded.apply(claiming_job("too-large", "none-anywhere"))

    def finds_no_node(job: Object) -> bool:
        return stage(job, "sft").get("reason") == "Unschedulable"

    for name in ("left", "right", "too-large"):
        seeded.wait_for(name, "unschedulable", finds_no_node, 200)
    offer(cluster, slot=2, left=1, right=1)
    for name in ("left", "right"):
        seeded.wait_for(name, "half placed", lambda _, name=name: len(placed(seeded, name)) == 1, 30)  # type: ignore[misc]
    offer(cluster, slot=2, left=2, right=2)

    released = []
    for name in ("left", "right"):
        job = seeded.wait_finished(name, 400)
        assert holds(job, "Complete"), job["status"]
        assert "failures" not in job["status"], "no budget is touched"
        for failure in stage(job, "sft").get("failures", []):
            released.append(name)
            assert failure["reason"] == "NotPlaced"
            assert "1 of 2" in failure["message"]
            assert "scheduling.placementDeadlineSeconds" in failure["message"]
            assert any(failure["message"] in text for text in messages(seeded, name))
    assert released, "one of them had to let go; the other may just have been in time to take its place"

    # What fits nowhere waits without holding anything, far longer than half a gang may.
    large = seeded.get("aj", "too-large")
    assert finds_no_node(large)
    assert stage(large, "sft")["attempt"] == 1
    assert "Insufficient example.com/none-anywhere" in stage(large, "sft")["message"]
    assert placed(seeded, "too-large") == []
    seeded.run("delete", "aj", "too-large")


def placed(namespace: Namespace, name: str) -> list[str]:
    """The Pods of the gang that hold a node."""
    return [pod["metadata"]["name"] for pod in namespace.pods(name, "sft") if pod["spec"].get("nodeName")]


def messages(namespace: Namespace, name: str) -> list[str]:
    """What the events of a job say."""
    return [event["message"] for event in namespace.items("events") if event["involvedObject"]["name"] == name]
