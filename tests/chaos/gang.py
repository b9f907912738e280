"""Gangs as this machine sees them: nodes are namespaces here, so every process of a Pod has a pid here as well."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alignment_api.contract import Progress
from tests.cluster import cgroups
from tests.cluster.layout import node_name

# Only of our own nodes: another cluster may be on this machine.
_POD: Final = re.compile(rf":/{re.escape(cgroups.name(node_name(0))[:-1])}\d/.*/pod([0-9a-f]{{8}}-[0-9a-f-]{{27}})")
PREPARE: Final = ""
"""Stands for the stage of Prepare's Pod."""


@dataclass(frozen=True)
class Member:
    """One Pod of a gang, or Prepare's.

    Attributes:
        supervisor: pid of its container's first process.
        stage: `PREPARE` or the stage.
        attempt: 0 for Prepare, whose Pod does not know it.
        rank: index of the Pod.
        pod_uid: uid of the Pod.
    """

    supervisor: int
    stage: str
    attempt: int
    rank: int
    pod_uid: str

    def progress_file(self) -> Path | None:
        """The file in which its first training process reports; None before there is one."""
        return next(Path(f"/proc/{self.supervisor}/root/tmp").glob("alignment-*/progress.json"), None)

    def progress(self) -> Progress | None:
        """What its first training process last reported; None if nothing can be read."""
        try:
            file = self.progress_file()
            return Progress.model_validate_json(file.read_bytes()) if file else None
        except (OSError, ValueError):  # it ended, or is about to be replaced
            return None

    def training_processes(self) -> list[int]:
        """The processes that train, without supervisor and launcher."""
        return [
            pid
            for pid, command in _commands()
            if "alignment_trainer.run" in command and _pod_of(pid) == self.pod_uid and "RANK" in _environment(pid)
        ]


def members(stage: str | None = None, attempt: int | None = None) -> list[Member]:
    """The Pods whose supervisor lives, by attempt and rank; of one stage or attempt where these are given."""
    found = [member for pid, command in _commands() if (member := _member(pid, command)) is not None]
    return sorted(
        (one for one in found if stage in (None, one.stage) and attempt in (None, one.attempt)),
        key=lambda one: (one.attempt, one.rank),
    )


def trainer_processes() -> list[int]:
    """Every process of the trainer, of whatever Pod."""
    return [
        pid
        for pid, command in _commands()
        if any(part.startswith("alignment_trainer") for part in command) and _pod_of(pid)
    ]


def operator_processes() -> list[int]:
    """Every process of the operator in a Pod."""
    return [pid for pid, command in _commands() if "alignment_operator" in command and _pod_of(pid)]


def _member(pid: int, command: list[str]) -> Member | None:
    if "alignment_trainer" not in command or not (pod := _pod_of(pid)):
        return None
    if command[-1] == "prepare":
        return Member(pid, PREPARE, 0, 0, pod)
    if "train" not in command:
        return None
    environment = _environment(pid)
    if "RANK" in environment:
        return None
    stage, attempt = (command[command.index(option) + 1] for option in ("--stage", "--attempt"))
    return Member(pid, stage, int(attempt), int(environment.get("JOB_COMPLETION_INDEX", "0")), pod)


def _commands() -> Iterator[tuple[int, list[str]]]:
    """The command lines of all processes that can be read."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                command = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:  # it ended
                continue
            if b"alignment_" in command:
                yield int(name), command.decode(errors="replace").rstrip("\0").split("\0")


def _environment(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def _pod_of(pid: int) -> str | None:
    """The uid of the Pod that a process belongs to."""
    try:
        found = _POD.search(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return None
    return found.group(1) if found else None
