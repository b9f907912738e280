"""The Debian packages that the cluster uses."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .layout import CACHE
from .shell import ClusterError, logged, step

PACKAGES = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "debootstrap": "debootstrap",
    "etcd-server": "etcd",
    "iproute2": "ip",
    "ipset": "ipset",
    "iptables": "iptables",
    "openssl": "openssl",
    "python3-venv": "/usr/share/doc/python3-venv",
    "runc": "runc",
    "util-linux": "nsenter",
}
"""Package -> a program of it, or a file that only it brings: asking dpkg would take longer than looking."""

_SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")


def missing(packages: Mapping[str, str] = PACKAGES) -> list[str]:
    """Return the packages that are not installed."""
    return [
        package
        for package, evidence in packages.items()
        if not (Path(evidence).exists() if evidence.startswith("/") else shutil.which(evidence))
    ]


def install(packages: Mapping[str, str] = PACKAGES) -> None:
    """Install what is missing, without starting services that packages bring, such as etcd and containerd."""
    wanted = missing(packages)
    if not wanted:
        return
    if os.geteuid():
        raise ClusterError(f"installing packages needs root: {', '.join(wanted)}")
    if not shutil.which("apt-get"):
        raise ClusterError(f"these programs' packages are missing, and this is no Debian: {', '.join(wanted)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    ours = not _SERVICE_POLICY.exists()
    with step(f"apt-get install {' '.join(wanted)}"):
        try:
            if ours:
                _SERVICE_POLICY.write_text("#!/bin/sh\nexit 101\n")
                _SERVICE_POLICY.chmod(0o755)
            command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted]
            # The lists are stale or absent on a fresh machine; an update is only paid for when they are.
            if subprocess.run([*command, "--download-only"], env=environment, capture_output=True).returncode:
                logged(["apt-get", "update", "-q"], CACHE / "apt-update.log", env=environment)
            logged(command, CACHE / "apt-install.log", env=environment)
        finally:
            if ours:
                _SERVICE_POLICY.unlink(missing_ok=True)
