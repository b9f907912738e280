"""What a workspace tells about how a model came to be: base models, data, and the attempts of every stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alignment_api.contract import AttemptLayout, JobLayout, RunConfig
from alignment_api.v1alpha1 import DataStatus, ModelSource, Stage
from alignment_api.v1alpha1.model import HuggingFaceModel

from .. import base_models
from ..attempt_record import AttemptRecord
from ..completion import read_marker, sha256_of
from ..data.store import EVAL, TRAIN
from ..models.export import ModelMarker
from ..prepared import Prepared
from .artifact import digest_of_files


@dataclass(frozen=True)
class StoredFile:
    """A file of the workspace.

    Attributes:
        path: relative to the workspace.
        sha256: hexadecimal.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class BaseRecord:
    """A model that the job did not make.

    Attributes:
        name: hub repository, or path in the workspace.
        commit: commit of the repository; None for a model of the workspace.
        path: where it lies, relative to the workspace.
        digest: digest of all files of a model of the workspace; of the hub's the commit says enough.
    """

    name: str
    commit: str | None
    path: str
    digest: str | None


@dataclass(frozen=True)
class StageRecord:
    """What is known of a stage.

    Attributes:
        stage: the stage.
        attempts: how many there were.
        started: when the first one began.
        ended: when the last one ended.
        resolved: what the last attempt trained with; empty for evaluate stages.
        resolved_file: where that stands.
        data: numbers of its data.
        splits: split of its rows -> digest of all its files.
        data_path: folder of the splits, relative to the workspace.
        model_digest: digest over the weights that it made.
    """

    stage: Stage
    attempts: int
    started: datetime | None
    ended: datetime | None
    resolved: dict[str, Any]
    resolved_file: StoredFile | None
    data: DataStatus | None
    splits: dict[str, str]
    data_path: str
    model_digest: str | None


@dataclass(frozen=True)
class JobRecord:
    """What is known of a job.

    Attributes:
        config: its configuration.
        stages: its stages, in their order.
        bases: the models that it did not make.
        evaluation: the results that decided.
    """

    config: RunConfig
    stages: tuple[StageRecord, ...]
    bases: tuple[BaseRecord, ...]
    evaluation: StoredFile

    @property
    def started(self) -> datetime | None:
        """When the first attempt at a stage began."""
        return min((stage.started for stage in self.stages if stage.started), default=None)

    @property
    def ended(self) -> datetime | None:
        """When the last attempt at a stage ended."""
        return max((stage.ended for stage in self.stages if stage.ended), default=None)

    def of(self, stage: Stage) -> StageRecord:
        """The record of ``stage``."""
        return next(record for record in self.stages if record.stage.name == stage.name)

    def base_of(self, stage: Stage) -> BaseRecord | None:
        """The base model from which the stage's model descends."""
        root = base_models.root_of(stage, self.config.spec)
        name = base_models.name_of(root) if root is not None else None
        return next((base for base in self.bases if base.name == name), None)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries that the last stage was trained with."""
        trained = [stage.resolved for stage in self.stages if stage.resolved]
        return dict(trained[-1].get("versions", {})) if trained else {}


def read(config: RunConfig, layout: JobLayout, results: Path) -> JobRecord:
    """What the workspace tells of a job.

    Args:
        config: the job.
        layout: its folders.
        results: file with what the promoting stage found.

    Raises:
        OSError: Prepare's result, prepared rows or base models cannot be read.
    """
    prepared = Prepared.load(layout)
    stages = tuple(_stage(stage, prepared, layout) for stage in config.spec.stages)
    found = {base.path: base for base in _bases(config, prepared, layout)}
    return JobRecord(config, stages, tuple(found.values()), _stored(results, layout))


def _stage(stage: Stage, prepared: Prepared, layout: JobLayout) -> StageRecord:
    folders = layout.stage(stage.name)
    numbers = sorted(int(path.name) for path in (folders.root / "attempts").glob("[0-9]*"))
    attempts = [folders.attempt(number) for number in numbers]
    records = [record for attempt in attempts if (record := _record(attempt)) is not None]
    last = next((attempt.resolved for attempt in reversed(attempts) if attempt.resolved.is_file()), None)
    marker = read_marker(folders.model, ModelMarker)
    return StageRecord(
        stage=stage,
        attempts=len(numbers),
        started=min((record.started_at for record in records), default=None),
        ended=max((record.ended_at for record in records if record.ended_at), default=None),
        resolved=json.loads(last.read_text()) if last is not None else {},
        resolved_file=_stored(last, layout) if last is not None else None,
        data=prepared.data.get(stage.name),
        splits={name: _digest(folders.data / name) for name in (TRAIN, EVAL) if (folders.data / name).is_dir()},
        data_path=layout.relative(folders.data),
        model_digest=marker.digest if marker is not None else None,
    )


def _stored(path: Path, layout: JobLayout) -> StoredFile:
    return StoredFile(layout.relative(path), sha256_of(path))


def _record(attempt: AttemptLayout) -> AttemptRecord | None:
    try:
        return AttemptRecord.model_validate_json(attempt.record.read_bytes())
    except (OSError, ValidationError):
        return None


def _bases(config: RunConfig, prepared: Prepared, layout: JobLayout) -> Iterator[BaseRecord]:
    seen: set[str] = set()
    for stage in config.spec.stages:
        for field, source in base_models.sources(stage, config.spec):
            path = prepared.models.get(stage.name, {}).get(field)
            if source is None or path is None or path in seen or _from_stage(source):
                continue
            seen.add(path)
            base = base_models.base_of(source)
            if base is not None:
                folder = layout.workspace / path
                on_hub = isinstance(base, HuggingFaceModel)
                yield BaseRecord(
                    name=base_models.name_of(base),
                    commit=folder.name if on_hub else None,  # Prepare keeps the snapshot of one commit
                    path=path,
                    digest=None if on_hub else _digest(folder),
                )


def _from_stage(source: Any) -> bool:
    return isinstance(source, ModelSource) and source.from_stage is not None


def _digest(folder: Path) -> str:
    """Digest over all files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return digest_of_files({path.relative_to(folder).as_posix(): sha256_of(path) for path in files})
