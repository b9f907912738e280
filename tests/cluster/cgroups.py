"""A node's control groups, in both of Linux's layouts."""

from __future__ import annotations

import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def _hierarchies() -> list[Path]:
    """Return the roots of the hierarchies that containers use: the only one in version 2, one each in version 1."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return [
        path
        for path in sorted(_ROOT.iterdir())
        if path.is_dir() and not path.is_symlink() and (path / "cgroup.procs").exists() and path.name != "unified"
    ]


def name(node: str) -> str:
    """Return the name of a node's group, from the root."""
    return f"alignment-{node}"


def create(node: str) -> list[Path]:
    """Create a node's groups; return those in which its own daemons live."""
    system = []
    for root in _hierarchies():
        if (root / "cgroup.controllers").exists():
            controllers = (root / "cgroup.controllers").read_text().split()
            for directory in (root, root / name(node)):
                directory.mkdir(exist_ok=True)
                (directory / "cgroup.subtree_control").write_text(" ".join(f"+{item}" for item in controllers))
        for directory in (root / name(node), root / name(node) / "system"):
            directory.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):
                # In version 1 a new cpuset is empty and takes no process until it is told its processors.
                if (directory / setting).exists() and not (directory / setting).read_text().strip():
                    (directory / setting).write_text((directory.parent / setting).read_text())
        system.append(root / name(node) / "system")
    return system


def remove(node: str, timeout: float = 10) -> bool:
    """Remove a node's groups as their last processes go; return whether all are gone."""
    deadline = time.monotonic() + timeout
    # By search, because runc also makes a group in the "unified" hierarchy, which containers do not use.
    left = [path for path in (_ROOT / name(node), *_ROOT.glob(f"*/{name(node)}")) if path.exists()]
    while left and time.monotonic() < deadline:
        left = [path for path in left if not _remove_tree(path)]
        if left:
            time.sleep(0.05)
    return not left


def _remove_tree(group: Path) -> bool:
    if not group.exists():
        return True
    for child in group.iterdir():
        if child.is_dir():
            _remove_tree(child)
    try:
        group.rmdir()
    except OSError:
        return False
    return True
