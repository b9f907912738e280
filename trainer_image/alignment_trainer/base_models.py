"""Base models of a job: which there are, and a checked local folder for each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from alignment_api.contract import JobLayout, Problem, token_variable
from alignment_api.v1alpha1 import AlignmentJobSpec, BaseModelSource, ModelSource, Stage, uses
from alignment_api.v1alpha1.model import HuggingFaceModel, VolumeModel

from . import hub
from .exceptions import ConfigurationError
from .models import remote_code

MODEL: Final = "model"
"""Path of the model that a stage starts from, below the stage."""

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
WEIGHTS_INDEX: Final = "model.safetensors.index.json"
TOKENIZER: Final = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
_DOWNLOADED: Final = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""Safetensors alone: pickled weights can run code."""
_CODE: Final = "*.py"
_PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt")

BaseModel = HuggingFaceModel | VolumeModel
"""A hub repository, or a folder in the workspace."""


def sources(stage: Stage, spec: AlignmentJobSpec) -> Iterator[tuple[str, ModelSource | BaseModelSource | None]]:
    """The models a stage uses, each with its path below the stage; None where the manifest names none.

    A stage that names no model to start from starts from the pipeline's.
    """
    if stage.evaluate is None and stage.model is None:
        yield MODEL, spec.model
    yield from ((use.field, use.source) for use in uses.models(stage))


def base_of(source: ModelSource | BaseModelSource) -> BaseModel | None:
    """The base model that ``source`` names; None if it is another stage's."""
    if source.hugging_face is not None:
        return source.hugging_face
    return source.volume


def root_of(stage: Stage, spec: AlignmentJobSpec) -> BaseModel | None:
    """The base model from which the stage's model descends, through the stages before it.

    Of an evaluate stage it is its first candidate's: its data is measured in that model's tokens, while each model is
    asked in its own.
    """
    source: ModelSource | BaseModelSource | None = stage.model or spec.model
    if stage.evaluate is not None:
        _, source = next(iter(stage.evaluate.candidate_fields().values()))
    return root_of_source(source, spec) if source is not None else None


def root_of_source(source: ModelSource | BaseModelSource, spec: AlignmentJobSpec) -> BaseModel | None:
    """The base model that ``source`` names, or from which the stage descends that it names."""
    from_stage = getattr(source, "from_stage", None)
    return root_of(spec.stage(from_stage), spec) if from_stage is not None else base_of(source)


def name_of(base: BaseModel) -> str:
    """What the model is called in messages."""
    return base.path if isinstance(base, VolumeModel) else base.repository


def fetch(base: BaseModel, layout: JobLayout, field: str) -> Path:
    """The local folder of ``base``: checked, and downloaded to the shared cache if it is on the hub.

    The folder of a hub model is the snapshot of one commit, and that of a promoted model is one version of it, so that
    all stages and attempts see the same weights though the branch or the link moves.

    Args:
        base: the model.
        layout: the job's folders.
        field: path of the model in the manifest, for errors.

    Raises:
        ConfigurationError: there is no such model, it is gated, files are missing, its weights are pickled, or it
            needs code that is not trusted.
        UnavailableError: the hub cannot be reached and the model is not in the cache.
    """
    if isinstance(base, VolumeModel):
        folder, field = _version_of(layout, base), f"{field}.volume"
        _check_files(folder, base.path, f"{field}.path")
    else:
        field = f"{field}.huggingFace"
        folder = _download(base, layout, field)
    remote_code.check(folder, name_of(base), field, trusted=base.trust_remote_code)
    if base.trust_remote_code:
        remote_code.trust([folder])
    return folder


def _version_of(layout: JobLayout, base: VolumeModel) -> Path:
    """The folder that a path names now: that of a promoted model is a link, which another promotion may move."""
    folder = layout.workspace / base.path
    root, real = layout.workspace.resolve(), folder.resolve()
    return layout.workspace / real.relative_to(root) if real.is_relative_to(root) else folder


def _download(base: HuggingFaceModel, layout: JobLayout, field: str) -> Path:
    import huggingface_hub

    token = os.environ.get(token_variable(base.token_secret_ref)) if base.token_secret_ref else None
    with hub.errors_explained(field, f"model {base.repository}", has_token=token is not None):
        snapshot = huggingface_hub.snapshot_download(
            base.repository,
            revision=base.revision,
            cache_dir=layout.cache / "hub",
            token=token,
            allow_patterns=[*_DOWNLOADED, *([_CODE] if base.trust_remote_code else [])],
        )
        folder = Path(snapshot)
        files = (
            huggingface_hub.HfApi(token=token).list_repo_files(base.repository, revision=folder.name)
            if _missing_weights(folder)
            else []
        )
    _check_files(folder, base.repository, field, files)
    return folder


def _check_files(folder: Path, name: str, field: str, others: Sequence[str] = ()) -> None:
    """Refuse a folder that is no model; ``others`` are files of the model that were not downloaded."""
    if not folder.is_dir():
        raise _refused(field, f"{name} is no folder in the workspace volume: write the model there or correct the path")
    missing = [] if (folder / CONFIG).is_file() else [CONFIG]
    weights = _missing_weights(folder)
    pickled = sorted(file for file in [*os.listdir(folder), *others] if file.endswith(_PICKLED))
    if weights and pickled:
        raise _refused(
            field,
            f"{name} has its weights in {pickled[0]}, a pickle, which can run any code when it is read: convert it "
            "where you trust it, with AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW), which writes "
            "safetensors, and name the result, or a revision of the repository that has them",
        )
    missing += weights
    if not any((folder / file).is_file() for file in TOKENIZER):
        missing.append("a tokenizer (tokenizer.json)")
    if missing:
        raise _refused(field, f"{name} lacks {', '.join(missing)}: a model is a folder as written by save_pretrained")


def _missing_weights(folder: Path) -> list[str]:
    if (folder / WEIGHTS).is_file():
        return []
    try:
        index = json.loads((folder / WEIGHTS_INDEX).read_text())
        shards = sorted(set(index["weight_map"].values()))
    except FileNotFoundError:
        return [f"{WEIGHTS} (weights are read as safetensors only)"]
    except (ValueError, KeyError, AttributeError):
        return [f"a readable {WEIGHTS_INDEX}"]
    return [shard for shard in shards if not (folder / shard).is_file()]


def _refused(field: str, message: str) -> ConfigurationError:
    return ConfigurationError(message, [Problem(field=field, message=message)])
