"""An artifact in an OCI registry, in the form of the CNCF ModelPack specification (github.com/modelpack/model-spec).

Each file is a layer of its own, as it is: weights do not compress, and a layer that an earlier model has too is neither
sent nor kept twice. ``org.opencontainers.image.title`` lets ``oras pull`` write the files under their names as well.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any, Final

from alignment_api.v1alpha1.promotion import OciDestination

from ...exceptions import StorageError
from ..artifact import CARD, CONFIG, LINEAGE, Artifact, ArtifactFile
from .oci_registry import Registry, digest_of

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE: Final = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.cncf.model.config.v1+json"
_LAYER_TYPE: Final = "application/vnd.cncf.model.{}.v1.raw"
_FILE_PATH: Final = "org.cncf.model.filepath"


def put(artifact: Artifact, place: OciDestination, field: str) -> str:
    """Push the model and move the tag to it; its address by digest.

    Raises:
        ConfigurationError: the registry refuses, or speaks no TLS.
        UnavailableError: it cannot be reached.
        StorageError: it gives out something else than was pushed.
    """
    config = _json(_config(artifact))
    manifest = _json(_manifest(artifact, config))
    with Registry(place, field) as registry:
        for file in artifact.files:
            registry.ensure_blob(f"sha256:{file.sha256}", file.size, file.blocks)
        registry.ensure_blob(digest_of(config), len(config), lambda: iter([config]))
        registry.put_manifest(place.tag, manifest, MANIFEST_TYPE)
        found = digest_of(registry.manifest(place.tag, MANIFEST_TYPE))
    if found != digest_of(manifest):
        raise StorageError(f"{place.repository}:{place.tag} is {found}, and {digest_of(manifest)} was pushed")
    return f"oci://{place.repository}@{found}"


def _manifest(artifact: Artifact, config: bytes) -> dict[str, Any]:
    lineage = artifact.file(LINEAGE)
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
        "layers": [
            {
                "mediaType": _LAYER_TYPE.format(_kind_of(file)),
                "digest": f"sha256:{file.sha256}",
                "size": file.size,
                "annotations": {_FILE_PATH: file.name, "org.opencontainers.image.title": file.name},
            }
            for file in artifact.files
        ],
        "annotations": {
            "org.opencontainers.image.created": artifact.created.isoformat(),
            "org.opencontainers.image.title": artifact.name,
            "org.opencontainers.image.description": artifact.description,
            "dev.alignment.model.digest": artifact.model_digest,
            **({"dev.alignment.lineage.digest": f"sha256:{lineage.sha256}"} if lineage is not None else {}),
        },
    }


def _config(artifact: Artifact) -> dict[str, Any]:
    """The model's description; its schema is closed, so what is not known is left out."""
    facts = json.loads(artifact.text(CONFIG)) if artifact.file(CONFIG) is not None else {}  # an adapter has none
    lineage = artifact.file(LINEAGE)
    descriptor = {
        "createdAt": artifact.created.isoformat(),
        "name": artifact.name,
        "description": artifact.description,
        "family": facts.get("model_type"),
        "revision": f"sha256:{lineage.sha256}" if lineage is not None else None,
    }
    config = {"architecture": "transformer", "format": "safetensors", "precision": facts.get("dtype")}
    return {
        "descriptor": {name: value for name, value in descriptor.items() if value is not None},
        "config": {name: value for name, value in config.items() if value is not None},
        "modelfs": {"type": "layers", "diffIds": [f"sha256:{file.sha256}" for file in artifact.files]},
    }


def _kind_of(file: ArtifactFile) -> str:
    match PurePosixPath(file.name):
        case path if path.suffix == ".safetensors":
            return "weight"
        case path if path.suffix == ".py":
            return "code"
        case path if path.name in (CARD, LINEAGE) or path.stem.upper() in ("LICENSE", "NOTICE"):
            return "doc"
        case _:
            return "weight.config"


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()
