"""The models that are compared: where they are, and what tells them from others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alignment_api.contract import JobLayout
from alignment_api.contract.layout import COMPLETION_MARKER
from alignment_api.v1alpha1 import Evaluate, Tokenizer
from alignment_api.v1alpha1.evaluation.evaluate import BASELINE

from ..completion import GLANCE_LIMIT, digest_of, read_marker
from ..models.chat_template import text_of
from ..models.export import ADAPTER_FOLDER, ModelMarker
from ..models.tokenizer import load_tokenizer


@dataclass(frozen=True)
class Contestant:
    """A model that answers the prompts.

    Attributes:
        name: ``baseline``, or the candidate's name.
        folder: the model.
        identity: digest of all that decides what it answers: files, chat template and padding token.
        vocabulary: digest of its tokens and their ids; models that share it can be asked about each other's tokens.
        digest: over its weight files, if a stage exported it.
        has_adapter: whether the stage trained an adapter, which lies beside it.
    """

    name: str
    folder: Path
    identity: str
    vocabulary: str
    digest: str | None = None
    has_adapter: bool = False


def contestants(
    evaluate: Evaluate, folders: Mapping[str, str], layout: JobLayout, overrides: Tokenizer
) -> list[Contestant]:
    """The candidates in the order of the manifest, then the baseline.

    Args:
        evaluate: the stage.
        folders: path below the stage -> folder of the model, relative to the workspace.
        layout: the job's folders.
        overrides: the user's tokenizer settings.
    """
    fields = {name: field for name, (field, _) in evaluate.candidate_fields().items()} | {BASELINE: BASELINE}
    return [
        _contestant(name, layout.workspace / folders[f"evaluate.{field}"], overrides) for name, field in fields.items()
    ]


def identity_of(folder: Path) -> str:
    """Digest over what a model's folder holds: its completion marker if it has one, else its files.

    Of large files size and time of change stand for the content: reading them takes longer than evaluating them.
    """
    marker = folder / COMPLETION_MARKER
    if marker.exists():
        return digest_of(marker)
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        stat = path.stat()
        content = digest_of(path) if stat.st_size <= GLANCE_LIMIT else f"{stat.st_size} {stat.st_mtime_ns}"
        digest.update(f"{path.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()


def _contestant(name: str, folder: Path, overrides: Tokenizer) -> Contestant:
    template = text_of(overrides.chat_template) if overrides.chat_template is not None else ""
    decided_by = f"{identity_of(folder)}\n{overrides.pad_token}\n{template}"
    vocabulary = sorted(load_tokenizer(str(folder), overrides).get_vocab().items())
    marker = read_marker(folder, ModelMarker)
    return Contestant(
        name=name,
        folder=folder,
        identity=hashlib.sha256(decided_by.encode()).hexdigest(),
        vocabulary=hashlib.sha256(repr(vocabulary).encode()).hexdigest(),
        digest=marker.digest if marker is not None else None,
        has_adapter=(folder / ADAPTER_FOLDER).is_dir(),
    )
