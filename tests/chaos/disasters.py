"""Faults of machines, network and storage."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import timedelta
from typing import Final

from tests.cluster import cluster, network, node, volumes
from tests.cluster.layout import node_name
from tests.cluster.shell import quietly

from . import gang
from .gang import Member
from .scene import Scene, wait_until
from .schedule import Strike

OTHER_NODE: Final = 2
"""The node that may die: the operator and the way of this machine to Services are on the first."""
_LOSS_PATIENCE: Final = 280.0
_CHECKPOINT_FAILS: Final = 60.0
_LOOK_AGAIN: Final = 0.02


def evict(scene: Scene, pod: str) -> None:
    """Ask for the eviction of a Pod."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": scene.namespace}}
    scene.call("POST", scene.path("pods", pod) + "/eviction", body)


def drain(scene: Scene, strike: Strike, victim: Member) -> None:
    """Cordon the victim's node, evict what the job has there, and uncordon it seconds later."""
    pods = scene.children("pods")
    where = next((pod["spec"]["nodeName"] for pod in pods if pod["metadata"]["uid"] == victim.pod_uid), node_name(1))
    _set_cordoned(scene, where, True)
    try:
        for pod in pods:
            if pod["spec"].get("nodeName") == where and pod["status"].get("phase") == "Running":
                evict(scene, pod["metadata"]["name"])
        time.sleep(1 + 5 * strike.amount)
    finally:
        _set_cordoned(scene, where, False)


def cut_power(scene: Scene, strike: Strike, victim: Member) -> None:
    """Cut a node's power for up to twenty seconds."""
    node.kill(OTHER_NODE)
    time.sleep(20 * strike.amount)
    cluster.start_node(OTHER_NODE)


def lose_node(scene: Scene, strike: Strike, victim: Member) -> None:
    """Cut a node's power and restore it when the gang has gone on without it."""
    node.kill(OTHER_NODE)
    wait_until(lambda: _went_on(strike, victim), _LOSS_PATIENCE, 0.5)
    cluster.start_node(OTHER_NODE)


def _went_on(strike: Strike, victim: Member) -> bool:
    return any(one.attempt > victim.attempt for one in gang.members(strike.stage))


def restart_kubelet(scene: Scene, strike: Strike, victim: Member) -> None:
    """Kill the kubelet of a node."""
    node.restart_program(_some_node(strike), "kubelet")


def restart_containerd(scene: Scene, strike: Strike, victim: Member) -> None:
    """Kill the container runtime of a node."""
    node.restart_program(_some_node(strike), "containerd")


def disconnect_for_seconds(scene: Scene, strike: Strike, victim: Member) -> None:
    """Pull a node's cable for less than it takes to be noticed."""
    _disconnect(2 + 4 * strike.amount)


def disconnect_for_long(scene: Scene, strike: Strike, victim: Member) -> None:
    """Pull a node's cable until its Pods were deleted."""
    _disconnect(22 + 6 * strike.amount)


def cut_ranks_for_seconds(scene: Scene, strike: Strike, victim: Member) -> None:
    """Drop all packets between two ranks for some seconds."""
    _filter(strike, victim, "-I", "DROP")
    time.sleep(2 + 4 * strike.amount)
    _filter(strike, victim, "-D", "DROP")


def cut_ranks(scene: Scene, strike: Strike, victim: Member) -> None:
    """Drop all packets between two ranks as long as they live."""
    _filter(strike, victim, "-I", "DROP")


def reset_connections(scene: Scene, strike: Strike, victim: Member) -> None:
    """Answer what one rank sends to another with a reset, as a broken middlebox does."""
    _filter(strike, victim, "-I", "REJECT", "--reject-with", "tcp-reset")


def fill_disk(scene: Scene, strike: Strike, victim: Member) -> None:
    """Fill the workspace, and make room again when the gang has failed for it."""
    filler = volumes.small() / "filler"
    try:
        with filler.open("wb") as file:
            while (free := _free()) > 0:
                with suppress(OSError):  # the ranks write meanwhile: what was free a moment ago is so no longer
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)
                time.sleep(_LOOK_AGAIN)
        wait_until(lambda: not _training(strike, victim), _CHECKPOINT_FAILS, 0.2)
    finally:
        filler.unlink()


def shift_times(member: Member, days: float, seconds: float) -> None:
    """For some seconds, move the time in all that a rank reports."""
    end = time.monotonic() + seconds
    seen = None
    while time.monotonic() < end:
        file, said = member.progress_file(), member.progress()
        if file is not None and said is not None and said != seen:
            seen = said.model_copy(update={"updated_at": said.updated_at + timedelta(days=days)})
            temporary = file.with_name("skewed")
            temporary.write_text(seen.model_dump_json(by_alias=True, exclude_none=True))
            temporary.replace(file)
        time.sleep(0.05)


def _set_cordoned(scene: Scene, name: str, cordoned: bool) -> None:
    body = {"spec": {"unschedulable": cordoned}}
    scene.call("PATCH", f"/api/v1/nodes/{name}", body, "application/merge-patch+json")


def _some_node(strike: Strike) -> int:
    running = cluster.running_nodes()
    return running[strike.rank % len(running)]


def _disconnect(seconds: float) -> None:
    network.set_connected(OTHER_NODE, False)
    try:
        time.sleep(seconds)
    finally:
        network.set_connected(OTHER_NODE, True)


def _filter(strike: Strike, victim: Member, action: str, *target: str) -> None:
    """Add or remove packet filter rules in the victim's network namespace, which they go with."""
    peers = [one for one in gang.members(strike.stage, victim.attempt) if one.rank != victim.rank]
    for peer in peers:
        address = _address(peer)
        inside = ["nsenter", "--target", str(victim.supervisor), "--net", "--", "iptables", "-w"]
        quietly([*inside, action, "INPUT", "-p", "tcp", "-s", address, "-j", *target])
        if target == ("DROP",):
            quietly([*inside, action, "OUTPUT", "-p", "tcp", "-d", address, "-j", *target])


def _address(member: Member) -> str:
    """The address of a Pod, out of the hosts file that the kubelet gave it."""
    with open(f"/proc/{member.supervisor}/root/etc/hosts") as file:
        return file.read().splitlines()[-1].split()[0]


def _free() -> int:
    status = os.statvfs(volumes.small())
    return status.f_bavail * status.f_frsize


def _training(strike: Strike, victim: Member) -> bool:
    return bool(gang.members(strike.stage, victim.attempt))
