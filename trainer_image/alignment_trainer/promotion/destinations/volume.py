"""A folder in the workspace, replaced in one step.

::

    models/assistant -> .assistant.versions/0123456789ab     what readers open
    models/.assistant.versions/0123456789ab/                 the model, by the digest of all its files

A folder that has files in it cannot be renamed over another one, and NFS refuses ``renameat2(RENAME_EXCHANGE)``. A
symbolic link can be replaced on all volumes that have them, and gives readers more: whoever resolves it once, as the
kubelet does with a ``subPath``, keeps a whole model while the link moves on. So that they can go on reading, the
version before stays; the one before that is removed.

Files are shared with the job's own folder by hard links where the volume has them: they cost no space, outlive the
job's folder, and nothing in a workspace is ever changed in place.
"""

from __future__ import annotations

import errno
import os
import shutil
from glob import escape
from pathlib import Path
from typing import Final

from pydantic import Field

from alignment_api.contract import JobLayout
from alignment_api.v1alpha1.promotion import VolumeDestination

from ...completion import fault_in, read_marker, write_marker
from ...exceptions import StorageError
from ...files import link_or_copy
from ...models.export import ModelMarker
from ..artifact import Artifact
from .refusal import refused

_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class VersionMarker(ModelMarker):
    """Completion marker of a promoted model."""

    artifact: str = Field(description="Digest of all its files.")
    replaces: str | None = Field(default=None, description="Name of the version that readers found before.")


def put(artifact: Artifact, place: VolumeDestination, field: str, layout: JobLayout, attempt: int) -> str:
    """Make ``artifact`` what readers find at ``place``; the path, relative to the workspace.

    Raises:
        ConfigurationError: something that no promotion wrote is there, or the volume has no symbolic links.
        StorageError: what was written reads differently.
        OSError: the volume cannot be written.
    """
    target = layout.workspace / place.path
    versions = _versions_of(target)
    job = layout.job.uid[:8]
    owner = f"{job}-{attempt}"  # in the names of what is not finished, so that attempts do not meet
    previous = _current(target, versions, f"{field}.path")
    try:
        versions.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise refused(f"{field}.path", f"{place.path} lies below a file, {error.filename}: choose another") from error
    version = versions / artifact.short_digest
    if _fault(version, artifact) is not None:
        _build(artifact, version, previous if previous != version.name else None, owner)
    _point(target, version, owner, f"{field}.path")
    found = _fault(target, artifact)
    if found is not None:
        raise StorageError(f"the model that was promoted to {place.path} reads differently: {found}")
    _remove_outdated(versions, version.name)
    _remove_unfinished(target, versions, job)
    return place.path


def check(place: VolumeDestination, field: str, layout: JobLayout) -> None:
    """Refuse a place that `put` would refuse, long before there is anything to put there.

    Raises:
        ConfigurationError: something that no promotion wrote is there.
    """
    target = layout.workspace / place.path
    _current(target, _versions_of(target), f"{field}.path")


def _versions_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.versions")


def _current(target: Path, versions: Path, field: str) -> str | None:
    """Name of the version that readers find now; None if they find nothing."""
    if target.is_symlink():
        link = Path(os.readlink(target))
        if link.parent == Path(versions.name):
            return link.name
    elif not target.exists():
        return None
    raise refused(
        field,
        f"{target.name} is there already and was not written by a promotion: choose another path, or move it away",
    )


def _build(artifact: Artifact, version: Path, previous: str | None, owner: str) -> None:
    """Write a version aside, and rename it to its place once it is whole."""
    aside = version.with_name(f".{version.name}.{owner}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for file in artifact.files:
        path = aside / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file.source, bytes):
            path.write_bytes(file.source)
        else:
            link_or_copy(file.source, path)
        _sync(path)
    entries = {file.name: file.entry for file in artifact.files}
    write_marker(
        aside,
        VersionMarker(files=entries, digest=artifact.model_digest, artifact=artifact.digest, replaces=previous),
    )
    for folder in {aside, *(path for path in aside.rglob("*") if path.is_dir())}:
        _sync(folder)
    shutil.rmtree(version, ignore_errors=True)  # it is not there, or damaged
    try:
        aside.rename(version)
    except OSError:
        if _fault(version, artifact) is not None:  # else another attempt was as fast
            raise
        shutil.rmtree(aside, ignore_errors=True)
    _sync(version.parent)


def _point(target: Path, version: Path, owner: str, field: str) -> None:
    """The step after which readers find ``version``."""
    link = target.with_name(f".{target.name}.{owner}")
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(Path(version.parent.name) / version.name)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise refused(
            field,
            f"the workspace has no symbolic links ({error.strerror}), by which a model is replaced in one step: use a "
            "volume of another class, or promote to s3, huggingFace or oci",
        ) from error
    os.replace(link, target)
    _sync(target.parent)


def _fault(folder: Path, artifact: Artifact) -> str | None:
    """What keeps ``folder`` from being the whole artifact; None if nothing does."""
    marker = read_marker(folder, VersionMarker)
    if marker is None or marker.artifact != artifact.digest:
        return "it is not complete"
    for file in artifact.files:
        if isinstance(file.source, Path) and _is_same(folder / file.name, file.source):
            continue  # one file with two names
        fault = fault_in(folder, file.name, file.entry)
        if fault is not None:
            return fault
    return None


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _remove_outdated(versions: Path, current: str) -> None:
    """Remove what was replaced before the last time.

    Nothing else is touched: another promotion may be about to point to its version.
    """
    marker = read_marker(versions / current, VersionMarker)
    if marker is None or marker.replaces is None:
        return
    before = read_marker(versions / marker.replaces, VersionMarker)
    if before is not None and before.replaces not in (None, current):
        shutil.rmtree(versions / before.replaces, ignore_errors=True)


def _remove_unfinished(target: Path, versions: Path, job: str) -> None:
    """Remove what other attempts of this job, which is done now, left."""
    for folder in versions.glob(f".*.{job}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for link in target.parent.glob(f".{escape(target.name)}.{job}-*"):
        link.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file or folder has reached the volume."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
