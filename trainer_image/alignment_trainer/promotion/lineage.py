"""The lineage of a promoted model: an in-toto statement with SLSA provenance, in bytes that can be signed.

The statement names every other file of the artifact by its SHA-256, and what they were made of and how. It holds no
time of its own: the same workspace gives the same bytes, however often a promotion is tried. Whoever promotes may sign
it: ``cosign sign-blob --bundle lineage.sigstore.json lineage.json``, or ``gpg --detach-sign lineage.json``.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from alignment_api.v1alpha1.dataset import DatasetSource

from .artifact import ArtifactFile
from .choice import Choice
from .manifest import public_manifest
from .record import BaseRecord, JobRecord, StageRecord, StoredFile

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "https://alignment.dev/AlignmentJob/v1alpha1"
BUILDER: Final = "https://alignment.dev/trainer"
_PACKAGES: Final = ("torch", "trl", "transformers", "peft", "datasets", "accelerate", "deepspeed")


def statement(record: JobRecord, choice: Choice, files: Iterable[ArtifactFile], image: str | None) -> dict[str, Any]:
    """The lineage of a model.

    Args:
        record: how the job went.
        choice: which model of it this is, and why.
        files: the artifact's files, the lineage aside.
        image: reference of the trainer image; None if it is not known.
    """
    job = record.config.job
    return {
        "_type": STATEMENT,
        "subject": [{"name": file.name, "digest": {"sha256": file.sha256}} for file in files],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "manifest": public_manifest(record.config),
                    "candidate": choice.candidate.name,
                    "artifact": choice.promotion.artifact.value,
                },
                "internalParameters": {"stages": [_stage(stage) for stage in record.stages]},
                "resolvedDependencies": [
                    *(_base(base) for base in record.bases),
                    *(entry for stage in record.stages for entry in _data(stage)),
                ],
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER,
                    "version": versions(record),
                    "builderDependencies": [_image(image)] if image else [],
                },
                "metadata": _without_none(
                    invocationId=f"{job.namespace}/{job.name}/{job.uid}",
                    startedOn=_time(record.started),
                    finishedOn=_time(record.ended),
                ),
                "byproducts": [_stored("evaluation", record.evaluation)],
                "alignment_evaluation": evaluation(choice),
            },
        },
    }


def canonical(content: Mapping[str, Any]) -> bytes:
    """JSON of sorted keys without spaces, which is the same wherever it is written."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def versions(record: JobRecord) -> dict[str, str]:
    """Versions of the libraries that the model was trained with, or else of those that are here."""
    return record.versions or {name: number for name in _PACKAGES if (number := _installed(name))}


def evaluation(choice: Choice) -> dict[str, Any]:
    """The numbers that decided."""
    results, candidate = choice.results, choice.candidate
    metrics = [metric.to_yaml_dict() for metric in candidate.metrics]
    return {
        "stage": results.stage,
        "prompts": results.prompts,
        "confidence": results.confidence,
        "generation": results.generation.to_yaml_dict(),
        "baseline": results.baseline.to_yaml_dict(),
        "candidate": candidate.name,
        "gates": [gate.to_yaml_dict() for gate in candidate.gates],
        "metrics": metrics,
        "tallies": [tally.to_yaml_dict() for tally in candidate.tallies],
    }


def _stage(record: StageRecord) -> dict[str, Any]:
    configuration = record.resolved_file
    return _without_none(
        name=record.stage.name,
        method=record.stage.method.value,
        attempts=record.attempts,
        startedOn=_time(record.started),
        finishedOn=_time(record.ended),
        seed=record.resolved.get("seed"),
        resolvedConfiguration=_stored("resolved configuration", configuration) if configuration is not None else None,
        model=record.model_digest,
        data=record.data.to_yaml_dict() if record.data is not None else None,
    )


def _stored(name: str, file: StoredFile) -> dict[str, Any]:
    return {"name": name, "uri": _uri(file.path), "digest": {"sha256": file.sha256}}


def _base(base: BaseRecord) -> dict[str, Any]:
    if base.commit is not None:
        return {
            "name": base.name,
            "uri": f"https://huggingface.co/{base.name}/tree/{base.commit}",
            "digest": {"gitCommit": base.commit},
        }
    return {"name": base.name, "uri": _uri(base.path), "digest": {"dirHash": base.digest}}


def _data(record: StageRecord) -> Iterator[dict[str, Any]]:
    """The prepared rows of a stage, and, where a hub's dataset is pinned, that."""
    dataset = record.stage.dataset
    sources = [_source(source) for _, source in dataset.sources()]
    if dataset.held_out_from_stage is not None:
        sources.append(f"rows held out from stage {dataset.held_out_from_stage}")
    for split, digest in record.splits.items():
        yield {
            "name": f"data/{record.stage.name}/{split}",
            "uri": _uri(f"{record.data_path}/{split}"),
            "digest": {"dirHash": digest},
            "annotations": {"sources": sources},
        }


def _source(source: DatasetSource) -> str:
    """Where rows came from, in one line."""
    if source.hugging_face is not None:
        named = source.hugging_face
        parts = [named.name, *([named.subset] if named.subset else []), named.split]
        return f"https://huggingface.co/datasets/{'/'.join(parts)}@{named.revision}"
    if source.s3 is not None:
        return f"s3://{source.s3.bucket}/{source.s3.key.lstrip('/')}"
    if source.volume is not None:
        return _uri(source.volume.path)
    if source.config_map is not None:
        return f"configmap:{source.config_map.name}/{source.config_map.key}"
    return "rows in the manifest"


def _image(reference: str) -> dict[str, Any]:
    name, _, digest = reference.partition("@")
    algorithm, _, value = digest.partition(":")
    return {"name": name, "uri": f"oci://{reference}", **({"digest": {algorithm: value}} if value else {})}


def _uri(path: str) -> str:
    """A path in the workspace, as a URI."""
    return f"workspace:{path}"


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else None


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
