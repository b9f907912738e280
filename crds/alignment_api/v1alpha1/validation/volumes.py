"""Where the user's volumes are mounted: not over each other, nor over what the operator mounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from ...contract.layout import WORKSPACE_MOUNT
from ...contract.pod import CONFIG_FILE
from ...contract.summary import Problem
from ..alignment_job import AlignmentJobSpec
from ..runtime import PodTemplate
from ..uses import pod_templates

_TAKEN: Final = {
    PurePosixPath(WORKSPACE_MOUNT): "the workspace",
    PurePosixPath(CONFIG_FILE.parent): "the job's configuration",
    PurePosixPath("/tmp"): "room for temporary files",  # noqa: S108
    PurePosixPath("/dev/shm"): "shared memory (runtime.sharedMemory)",  # noqa: S108
}
"""What the operator mounts, and where."""


def problems(spec: AlignmentJobSpec) -> Iterator[Problem]:
    """Mount paths that are taken."""
    for field, template in pod_templates(spec):
        yield from _problems(field, template)


def _problems(field: str, template: PodTemplate) -> Iterator[Problem]:
    others = dict(_TAKEN)
    for index, volume in enumerate(template.volumes or ()):
        path = PurePosixPath(volume.mount_path)
        for other, what in others.items():
            if path.is_relative_to(other) or other.is_relative_to(path):
                yield Problem(
                    field=f"{field}.volumes[{index}].mountPath",
                    message=f"{path} overlaps {other}, where {what} is mounted: choose another path",
                )
        others[path] = f"volume {volume.name}"
