"""The first process of a node: make the namespaces a machine of its own, then keep its daemons running.

Run alone (not as part of the package), inside new mount, pid, network and host name namespaces, with the path of a JSON
description. When this process dies, the kernel ends everything in the namespaces: that is a power cut.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def run(*command: str) -> None:
    """Run a command of the set-up; the node cannot live without it."""
    subprocess.run(command, check=True)


def join_cgroups(directories: list[str]) -> None:
    """Move this process, and with it all daemons, into the node's cgroups, so that an empty one means a dead node."""
    for directory in directories:
        Path(directory, "cgroup.procs").write_text("0")  # "0" is the writer


def mount_all(spec: dict[str, Any]) -> None:
    """Give the node its own /run, /var/lib and /var/log; every other path is the machine's."""
    run("mount", "--make-rshared", "/")
    # The kubelet hard-codes paths below /var/lib, and CNI's cache lies there too.
    for place, source in spec["binds"].items():
        run("mount", "--bind", source, place)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    os.mkdir("/run/lock")


def configure_network(spec: dict[str, Any]) -> None:
    """Wait for the cable from outside, then set address and routes. There is no default route: nothing leaves."""
    while not has_link("eth0"):
        time.sleep(0.01)
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", spec["address"], "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    for destination, gateway in spec["routes"].items():
        run(
            "ip",
            "route",
            "add",
            destination,
            *(["via", gateway] if gateway else []),
            "dev",
            "eth0",
            *(["onlink"] if gateway else []),
        )
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def has_link(name: str) -> bool:
    """Return whether this network namespace has a link; /sys still shows the machine's."""
    return any(interface == name for _, interface in socket.if_nameindex())


class Daemons:
    """Start each daemon when its condition file exists, and start it again a second after it ended."""

    def __init__(self, specs: list[dict[str, Any]]) -> None:
        self._waiting = specs
        self._running: dict[int, dict[str, Any]] = {}

    def start_due(self) -> None:
        """Start what is due."""
        for spec in list(self._waiting):
            if time.monotonic() >= spec.get("not_before", 0) and ("after" not in spec or Path(spec["after"]).exists()):
                with open(spec["log"], "a") as log:
                    process = subprocess.Popen(
                        spec["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                    )
                self._running[process.pid] = spec
                self._waiting.remove(spec)

    def collect(self) -> None:
        """Collect ended processes; as first process, this one inherits every orphan."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if spec := self._running.pop(pid, None):
                print(f"{spec['command'][0]} ended with {os.waitstatus_to_exitcode(status)}", flush=True)
                self._waiting.append({**spec, "not_before": time.monotonic() + 1})


def main(path: str) -> None:
    """Set up the node, then look after its daemons until the end."""
    spec: dict[str, Any] = json.loads(Path(path).read_text())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nodes are ended by SIGKILL only
    join_cgroups(spec["cgroups"])
    socket.sethostname(spec["name"])
    mount_all(spec)
    configure_network(spec)
    daemons = Daemons(spec["daemons"])
    while True:
        daemons.start_due()
        daemons.collect()
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1])
