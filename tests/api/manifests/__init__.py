"""AlignmentJob manifests for the tests, and changing them at a path."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
_HERE = Path(__file__).parent


def load(name: str) -> Any:
    """The content of `<name>.yaml` in this folder."""
    return yaml.safe_load((_HERE / f"{name}.yaml").read_text())


def changed(manifest: Manifest, changes: dict[str, Any]) -> Manifest:
    """A copy of ``manifest`` with each path, such as `spec.stages[0].name`, set to its value; None removes it."""
    result = deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = _steps(path)
        target: Any = result
        for step in parents:
            target = target.setdefault(step, {}) if isinstance(step, str) else target[step]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return result


def _steps(path: str) -> list[str | int]:
    """`spec.stages[0].name` -> ["spec", "stages", 0, "name"]."""
    return [int(index) if index else name for index, name in re.findall(r"\[(\d+)\]|([^.\[\]]+)", path)]
