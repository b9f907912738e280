"""What tells the content of a source from any other content, found out without reading its rows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alignment_api.contract import CONFIG_MAPS_MOUNT, JobLayout, token_variable
from alignment_api.v1alpha1 import DatasetSource
from alignment_api.v1alpha1.dataset import HuggingFaceDataset

from ..completion import sha256_of
from ..exceptions import TrainerError
from .sources import s3

_HUB_TIMEOUT: Final = 20.0
"""Seconds to wait for the hub; without its answer the data is prepared without the cache."""


@dataclass(frozen=True)
class Origin:
    """The content of a source.

    Attributes:
        digest: equal for equal content.
        stamp: changes when the content changes while it is read; cheap to find out again.
        source: the source, pinned to that content where it can be.
    """

    digest: str
    stamp: str
    source: DatasetSource


def find(source: DatasetSource, layout: JobLayout, field: str) -> Origin | None:
    """The content that ``source``, at ``field`` in the manifest, has now; None if that cannot be told.

    Raises:
        TrainerError: a store refuses or does not answer.
    """
    if source.inline is not None:
        return Origin("", "", source)  # its rows are part of its specification
    if source.hugging_face is not None:
        return _hub(source, source.hugging_face)
    if source.s3 is not None:
        versions = "\n".join(s3.versions(source.s3, f"{field}.s3"))
        return Origin(versions, versions, source)
    files = _files(source, layout)
    try:
        stamp = _stamp(files)
        return Origin(" ".join(sha256_of(file) for file in files), stamp, source) if files else None
    except OSError:
        return None


def stamp_of(source: DatasetSource, layout: JobLayout) -> str:
    """The stamp that ``source`` has now."""
    try:
        return "\n".join(s3.versions(source.s3, "s3")) if source.s3 is not None else _stamp(_files(source, layout))
    except (OSError, TrainerError):
        return "unreadable"


def _files(source: DatasetSource, layout: JobLayout) -> list[Path]:
    if source.config_map is not None:
        return [CONFIG_MAPS_MOUNT / source.config_map.name / source.config_map.key]
    if source.volume is None:
        return []
    path = layout.workspace / source.volume.path
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def _stamp(files: list[Path]) -> str:
    return " ".join(f"{file.name}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)


def _hub(source: DatasetSource, named: HuggingFaceDataset) -> Origin | None:
    """The commit that the revision names; reading that keeps the key true though the branch moves."""
    import huggingface_hub

    token = os.environ.get(token_variable(named.token_secret_ref)) if named.token_secret_ref else None
    try:
        hub = huggingface_hub.HfApi(token=token)
        commit = hub.dataset_info(named.name, revision=named.revision, timeout=_HUB_TIMEOUT).sha
    except Exception:  # whatever is wrong, reading the rows says it better
        return None
    if commit is None:
        return None
    pinned = named.model_copy(update={"revision": commit})
    return Origin(commit, "", source.model_copy(update={"hugging_face": pinned}))
