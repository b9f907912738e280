"""Promotion: the chosen candidate goes to every place that the manifest names."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from alignment_api.contract import IMAGE_VARIABLE, JobLayout, RunConfig, Summary
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import PromotionResult

from ..completion import NotComplete, glance_at, has_marker
from ..evaluation.results import RESULTS
from ..exceptions import StorageError, TrainerError, combined
from ..files import write_atomically
from ..launch.masking import Mask
from ..models.export import ADAPTER_FOLDER, ModelMarker, digest_of_weights
from . import card, destinations, lineage, record
from .artifact import ADAPTER_CONFIG, CARD, LINEAGE, Artifact, ArtifactFile, files_of_model, in_order
from .choice import Choice, choose
from .record import JobRecord

_log = logging.getLogger(__name__)


def promote(config: RunConfig, layout: JobLayout, attempt: int) -> Summary:
    """Put the chosen candidate to all its places. One that was interrupted is simply run again.

    Args:
        config: the job.
        layout: its folders.
        attempt: number of this attempt at the promotion.

    Returns:
        What was promoted, and where it is.

    Raises:
        ConfigurationError: a gate does not hold, or a place refuses the model.
        UnavailableError: a place cannot be reached, and none refuses.
        StorageError: the model is damaged, or the workspace cannot be written.
    """
    choice = choose(config.spec, layout)
    _log.info("promoting candidate %s of stage %s", choice.candidate.name, choice.stage.name)
    artifact = build(config, layout, choice)
    write_atomically(layout.lineage, artifact.text(LINEAGE), durable=True)
    locations = _put_everywhere(artifact, choice, layout, attempt)
    result = PromotionResult(
        candidate=choice.candidate.name,
        model=choice.status(artifact.model_digest),
        locations=locations,
        lineage=layout.relative(layout.lineage),
    )
    message = f"candidate {choice.candidate.name} is promoted to {', '.join(locations)}"
    return Summary(exit_code=ExitCode.OK, message=message, promotion=result)


def build(config: RunConfig, layout: JobLayout, choice: Choice) -> Artifact:
    """The model with its card and its lineage.

    Raises:
        StorageError: the model is not what was evaluated, or is damaged.
        OSError: the workspace cannot be read.
    """
    files, digest = _model(layout, choice)
    known = record.read(config, layout, layout.stage(choice.stage.name).report / RESULTS)
    mask = Mask.of(os.environ)
    name = _name(config, choice)
    text = mask.text(card.card(known, choice, name))
    if choice.is_adapter:
        files = [_for_base(file, known, choice) for file in files]
    described = in_order([*files, ArtifactFile.holding(CARD, text.encode())])
    facts = lineage.statement(known, choice, described, os.environ.get(IMAGE_VARIABLE))
    statement = mask.bytes(lineage.canonical(facts))
    return Artifact(
        name=name,
        description=mask.text(card.summary(known, choice)),
        created=known.ended or _evaluated(layout, choice),
        model_digest=digest,
        files=in_order([*described, ArtifactFile.holding(LINEAGE, statement)]),
    )


def _model(layout: JobLayout, choice: Choice) -> tuple[list[ArtifactFile], str]:
    """The files of the model, and the digest over its weights; both are what the evaluation saw."""
    folder = layout.workspace / choice.candidate.path
    # A model that no stage exported, from the hub or a volume, has no marker.
    try:
        marker = glance_at(folder, ModelMarker) if has_marker(folder) else None
    except NotComplete as fault:
        raise StorageError(f"the model in {folder} is damaged: {fault}: run its stage again") from fault
    below = f"{ADAPTER_FOLDER}/"
    entries = marker.files if marker is not None else None
    if choice.is_adapter:
        files = list(files_of_model(folder, entries, below))
        digest = marker.digest if marker is not None else choice.candidate.digest or ""
    else:
        files = [file for file in files_of_model(folder, entries) if not file.name.startswith(below)]
        digest = digest_of_weights({file.name: file.sha256 for file in files})
    if choice.candidate.digest not in (None, digest):
        raise StorageError(
            f"the model in {choice.candidate.path} is not the one that was evaluated: its weights are {digest}, and "
            f"were {choice.candidate.digest}: evaluate it again"
        )
    return files, digest


def _for_base(file: ArtifactFile, known: JobRecord, choice: Choice) -> ArtifactFile:
    """The adapter's file; its configuration names the base model where everybody finds it, if it is on the hub."""
    base = known.base_of(choice.stage)
    starts_from_base = choice.trained_by is not None and (
        choice.trained_by.model is None or choice.trained_by.model.from_stage is None
    )
    if file.name != ADAPTER_CONFIG or base is None or base.commit is None or not starts_from_base:
        return file
    content = json.loads(b"".join(file.blocks()))
    content |= {"base_model_name_or_path": base.name, "revision": base.commit}
    return ArtifactFile.holding(file.name, json.dumps(content, indent=2, sort_keys=True).encode())


def _put_everywhere(artifact: Artifact, choice: Choice, layout: JobLayout, attempt: int) -> list[str]:
    """Try all places, so that all that is wrong is told at once."""
    locations: list[str] = []
    errors: list[TrainerError] = []
    for index, place in enumerate(choice.promotion.to):
        try:
            locations.append(destinations.put(artifact, place, f"spec.promotion.to[{index}]", layout, attempt))
            _log.info("promoted to %s", locations[-1])
        except TrainerError as error:
            errors.append(error)
    if errors:
        raise combined(errors)
    return locations


def _name(config: RunConfig, choice: Choice) -> str:
    several = choice.stage.evaluate is not None and choice.stage.evaluate.candidates is not None
    return f"{config.job.name}-{choice.candidate.name}" if several else config.job.name


def _evaluated(layout: JobLayout, choice: Choice) -> datetime:
    """When the evaluation wrote its results: for a workspace that kept no record of when attempts ended."""
    path: Path = layout.stage(choice.stage.name).report / RESULTS
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
