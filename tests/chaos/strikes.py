"""What each kind of fault does. Pods and processes here; machines, network and storage in `disasters`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tests.cluster import control_plane, install
from tests.cluster.shell import ClusterError

from . import disasters, gang
from .gang import Member
from .scene import Scene, wait_until
from .schedule import Strike

Blow = Callable[[Scene, Strike, Member], None]
_OPERATOR_BACK: Final = 90.0


def strike_now(scene: Scene, strike: Strike, victim: Member) -> None:
    """Do it; returns when what was broken is whole again, but for the gang."""
    BLOWS[strike.fault](scene, strike, victim)


def kill_rank(scene: Scene, strike: Strike, victim: Member) -> None:
    """Kill the training processes of a Pod, as the kernel does when memory runs out; the supervisor lives to tell."""
    wait_until(lambda: bool(victim.training_processes()), 15, 0.01)
    _signal(victim.training_processes(), signal.SIGKILL)


def kill_container(scene: Scene, strike: Strike, victim: Member) -> None:
    """Kill the first process of a container, and so all of it."""
    _signal([victim.supervisor], signal.SIGKILL)


def hang_rank(scene: Scene, strike: Strike, victim: Member) -> None:
    """Stop the training processes of a Pod."""
    _signal(victim.training_processes(), signal.SIGSTOP)


def kill_operator(scene: Scene, strike: Strike, victim: Member) -> None:
    """Kill the operator with its Pod, and wait until another one runs."""
    path = f"/api/v1/namespaces/{install.OPERATOR_NAMESPACE}/pods"

    def running() -> set[str]:
        pods = scene.call("GET", path)["items"]
        alive = [pod for pod in pods if pod["status"].get("phase") == "Running"]
        return {pod["metadata"]["name"] for pod in alive if "deletionTimestamp" not in pod["metadata"]}

    before = running()
    _signal(gang.operator_processes(), signal.SIGKILL)
    for name in before:
        scene.call("DELETE", f"{path}/{name}?gracePeriodSeconds=0")
    if not wait_until(lambda: bool(running() - before), _OPERATOR_BACK, 0.3):
        raise ClusterError("no new operator Pod")


def kill_operator_and_rank(scene: Scene, strike: Strike, victim: Member) -> None:
    """Kill a rank, and the operator before it can do anything about that."""
    kill_rank(scene, strike, victim)
    time.sleep(2 * strike.amount)
    kill_operator(scene, strike, victim)


def delete_pod(scene: Scene, strike: Strike, victim: Member) -> None:
    """Delete a Pod as a person does: its container is told to stop."""
    scene.call("DELETE", scene.path("pods", _name(scene, victim)))


def delete_pod_by_force(scene: Scene, strike: Strike, victim: Member) -> None:
    """Delete a Pod from the API server without waiting for its end."""
    scene.call("DELETE", scene.path("pods", _name(scene, victim)) + "?gracePeriodSeconds=0")


def evict_pod(scene: Scene, strike: Strike, victim: Member) -> None:
    """Evict a Pod, as a drain does."""
    disasters.evict(scene, _name(scene, victim))


def delete_job(scene: Scene, strike: Strike, victim: Member) -> None:
    """Delete the gang's Job."""
    job = _pod(scene, victim)["metadata"]["labels"]["batch.kubernetes.io/job-name"]
    scene.call("DELETE", scene.path("jobs", job) + "?propagationPolicy=Background")


def restart_api_server_and_kill_rank(scene: Scene, strike: Strike, victim: Member) -> None:
    """Kill a rank while the API server is away."""
    kill_rank(scene, strike, victim)
    control_plane.restart("kube-apiserver", away=3 * strike.amount)


def skew_clock(scene: Scene, strike: Strike, victim: Member) -> None:
    """For some seconds, let the gang report at times up to a day off."""
    for member in gang.members(strike.stage, victim.attempt):
        if member.rank == 0:
            disasters.shift_times(member, days=2 * strike.amount - 1, seconds=4)


def suspend_and_resume(scene: Scene, strike: Strike, victim: Member) -> None:
    """Suspend the job and resume it up to eight seconds later."""
    scene.patch({"spec": {"suspend": True}})
    time.sleep(8 * strike.amount**2)
    scene.patch({"spec": {"suspend": False}})


def _restart_component(name: str, *, longest: float = 0.0) -> Blow:
    def blow(scene: Scene, strike: Strike, victim: Member) -> None:
        control_plane.restart(name, away=longest * strike.amount)

    return blow


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _pod(scene: Scene, victim: Member) -> dict[str, dict[str, dict[str, str]]]:
    pod = scene.pod(victim.pod_uid)
    if pod is None:
        raise ClusterError(f"the Pod of {victim} is gone")
    return pod


def _name(scene: Scene, victim: Member) -> str:
    return str(_pod(scene, victim)["metadata"]["name"])


BLOWS: Final[dict[str, Blow]] = {
    "rank killed while loading": kill_rank,
    "rank killed while training": kill_rank,
    "rank killed while checkpointing": kill_rank,
    "rank killed while exporting": kill_rank,
    "container killed": kill_container,
    "Prepare killed": kill_container,
    "rank hangs": hang_rank,
    "operator killed": kill_operator,
    "operator and rank killed": kill_operator_and_rank,
    "Pod deleted": delete_pod,
    "Pod deleted by force": delete_pod_by_force,
    "Pod evicted": evict_pod,
    "Job deleted": delete_job,
    "node drained": disasters.drain,
    "node loses power": disasters.cut_power,
    "node is lost": disasters.lose_node,
    "kubelet restarted": disasters.restart_kubelet,
    "container runtime restarted": disasters.restart_containerd,
    "node cut off for seconds": disasters.disconnect_for_seconds,
    "node cut off for long": disasters.disconnect_for_long,
    "ranks cut off for seconds": disasters.cut_ranks_for_seconds,
    "connections of ranks reset": disasters.reset_connections,
    "ranks cut off for good": disasters.cut_ranks,
    "etcd restarted": _restart_component("etcd"),
    "kube-apiserver restarted": _restart_component("kube-apiserver"),
    "kube-controller-manager restarted": _restart_component("kube-controller-manager"),
    "kube-scheduler restarted": _restart_component("kube-scheduler"),
    "coredns restarted": _restart_component("coredns"),
    "kube-apiserver away for seconds": _restart_component("kube-apiserver", longest=10),
    "kube-apiserver restarted, rank killed": restart_api_server_and_kill_rank,
    "disk full": disasters.fill_disk,
    "clock of progress skewed": skew_clock,
    "suspended and resumed": suspend_and_resume,
}
