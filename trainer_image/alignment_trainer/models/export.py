"""Export: the trained model as a folder that ``from_pretrained`` loads, complete once its marker is there.

All weights trained: gathered over the gang (ZeRO-3) and written by rank 0. An adapter trained: rank 0 loads the base
again, in its own precision, and merges the adapter into it; the adapter alone is kept in ``adapter/``.

A model is built in its attempt's own folder and then published by a rename. The first attempt to publish wins: a gang
that was cut off and comes to its end late must not take away a model that later stages already read.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import AttemptLayout, JobLayout
from alignment_api.v1alpha1 import Method, ModelStatus, Stage

from ..completion import Marker, list_files, read_marker, sha256_of, write_marker
from . import remote_code
from .unpartitioned import unpartitioned

ADAPTER_FOLDER: Final = "adapter"
_WEIGHTS: Final = "*.safetensors"
_NOT_THE_MODEL: Final = ("training_args.bin", "README.md", "ref")
"""What transformers and TRL save beside the model; ``ref`` is DPO's copy of an adapter it continued."""


class ModelMarker(Marker):
    """Completion marker of a model folder."""

    digest: str


def export_model(trainer: Any, stage: Stage, base: str, layout: JobLayout, own: AttemptLayout) -> ModelStatus | None:
    """Write the stage's model. Every rank must call this: weights are gathered from all.

    Args:
        trainer: the TRL trainer after training.
        stage: the stage.
        base: folder of the model the stage started from.
        layout: the job's folders.
        own: the attempt's folders.

    Returns:
        What was published, on rank 0; None on other ranks.

    Raises:
        OSError: the volume is full, or holds something else in the model's place.
    """
    building = own.building
    trained = building / ADAPTER_FOLDER if stage.adapter else building
    if trainer.is_world_process_zero():
        shutil.rmtree(building, ignore_errors=True)
        trained.mkdir(parents=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(trained))
    trainer.accelerator.wait_for_everyone()
    if not trainer.is_world_process_zero():
        return None
    _remove_extras(trained)
    if stage.adapter:
        _save_merged(base, trained, building, stage.method, trainer.processing_class)
        trainer.processing_class.save_pretrained(str(building))
    marker = ModelMarker(files=list_files(building), digest=weights_digest(building))
    write_marker(building, marker)
    target = layout.stage(stage.name).model
    return ModelStatus(
        path=layout.relative(target),
        adapter_path=layout.relative(target / ADAPTER_FOLDER) if stage.adapter else None,
        digest=publish(building, target, marker).digest,
    )


def publish(building: Path, target: Path, marker: ModelMarker) -> ModelMarker:
    """Make the complete model in ``building`` the stage's model, unless it has one.

    Args:
        building: the model, on the same volume as ``target``.
        target: where the stage's model belongs.
        marker: the marker of ``building``.

    Returns:
        The marker of the model that is at ``target`` now.

    Raises:
        OSError: ``target`` holds something that is no complete model.
    """
    try:
        building.rename(target)  # refused if the target is a folder with files in it
    except OSError:
        published = read_marker(target, ModelMarker)
        if published is None:
            raise
        shutil.rmtree(building, ignore_errors=True)
        return published
    return marker


def weights_digest(folder: Path) -> str:
    """``sha256:...`` over the weight files at the root of ``folder``: their names and their own digests, in order."""
    return digest_of_weights({path.name: sha256_of(path) for path in folder.glob(_WEIGHTS)})


def digest_of_weights(files: Mapping[str, str]) -> str:
    """The same, of the hexadecimal SHA-256 of every file; those that hold no weights are passed over."""
    names = sorted(name for name in files if "/" not in name and fnmatchcase(name, _WEIGHTS))
    lines = "".join(f"{name} {files[name]}\n" for name in names)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _save_merged(base: str, adapter: Path, target: Path, method: Method, tokenizer: Any) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from transformers.trainer_utils import align_special_tokens

    code = remote_code.options(base)
    with unpartitioned():  # the gang does not take part
        if method is Method.REWARD:
            model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype="auto", **code)
        else:
            model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", **code)
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        # As transformers did with the model that was trained: generation ends where the chat template ends a turn, and
        # a classifier finds the last token of a padded row.
        align_special_tokens(merged, tokenizer)
        merged.save_pretrained(str(target))


def _remove_extras(folder: Path) -> None:
    for name in _NOT_THE_MODEL:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
