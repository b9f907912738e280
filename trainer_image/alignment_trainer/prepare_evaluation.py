"""What Prepare finds out about an evaluate stage: whether all that it is to measure can be measured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import JobLayout, Problem
from alignment_api.v1alpha1 import AlignmentJobSpec, Evaluate, GateMetric, ModelSource, Stage

from .base_models import BaseModel, base_of, name_of, root_of_source
from .data import texts
from .evaluation import engines
from .evaluation.judges import reachable
from .exceptions import ConfigurationError, TrainerError
from .models import classifier, remote_code

_log = logging.getLogger(__name__)

_BY_TOKEN: Final = frozenset({GateMetric.KL, GateMetric.PERPLEXITY})
"""Metrics per token, which compare only where both models have the same tokens."""


def errors(
    stage: Stage,
    spec: AlignmentJobSpec,
    folders: Mapping[BaseModel, Path],
    tokenizer_of: Callable[[BaseModel], Any | None],
    layout: JobLayout,
    path: str,
) -> Iterator[TrainerError]:
    """Check what an evaluate stage measures, and bring the data for it; whatever is wrong.

    Args:
        stage: the stage; of others there is nothing to check.
        spec: the whole job.
        folders: base model -> its local folder; what could not be had is missing, and another's error.
        tokenizer_of: the tokenizer of a base model; None if it cannot be had, which is noted elsewhere.
        layout: folders of the job.
        path: path of the stage in the manifest.
    """
    if stage.evaluate is None:
        return
    models = {field: root_of_source(source, spec) for field, source in _answering(stage.evaluate).items()}
    roots = {field: root for field, root in models.items() if root is not None and root in folders}
    vocabularies = {
        field: tokenizer.get_vocab() for field, root in roots.items() if (tokenizer := tokenizer_of(root)) is not None
    }
    problems = list(_incomparable(stage.evaluate, vocabularies, f"{path}.evaluate"))
    if problems:
        yield ConfigurationError(f"gates of stage {stage.name} cannot be computed", problems)
    positions = dict[str, int]()
    for field, root in roots.items():
        yield from _attempt(_note_positions, positions, root, folders[root], f"{path}.evaluate.{field}")
    engine, place = stage.evaluate.generation.engine, f"{path}.evaluate.generation.engine"
    # Whether there are GPUs shows in the gang; what the image lacks shows here.
    yield from _attempt(partial(engines.choose, engine, has_gpu=True, field=place))
    measures, field = stage.evaluate.measures, f"{path}.evaluate.measures"
    for index, text in enumerate(measures.texts):
        _log.info("text %s of stage %s", text.name, stage.name)
        yield from _attempt(texts.prepare, text, layout.stage(stage.name), layout, f"{field}.texts[{index}]")
    for index, task in enumerate(measures.tasks):
        from .evaluation.measures import harness  # takes seconds, and torch

        _log.info("task %s of stage %s", task.name, stage.name)
        place = f"{field}.tasks[{index}]"
        yield from _attempt(harness.prepare, task, layout.stage(stage.name), layout, place, positions)
    for index, entry in enumerate(measures.classifiers):
        base = base_of(entry.model)
        if base is not None and base in folders:
            yield from _attempt(classifier.check, folders[base], entry.label, f"{field}.classifiers[{index}]")
    yield from reachable.check(stage, path)


def _attempt(check: Callable[..., object], *arguments: object) -> Iterator[TrainerError]:
    try:
        check(*arguments)
    except TrainerError as error:
        yield error


def _answering(evaluate: Evaluate) -> dict[str, ModelSource]:
    """The models that answer, by their paths below ``evaluate``."""
    return dict(evaluate.candidate_fields().values()) | {"baseline": evaluate.baseline}


def _incomparable(evaluate: Evaluate, vocabularies: Mapping[str, Mapping[str, int]], path: str) -> Iterator[Problem]:
    """Gates that compare token by token what has not the same tokens."""
    baseline = vocabularies.get("baseline")
    others = [field for field, vocabulary in vocabularies.items() if baseline is not None and vocabulary != baseline]
    for index, gate in enumerate(evaluate.gates):
        relative = gate.metric is GateMetric.KL or gate.relative_to_baseline is not None
        if others and gate.metric in _BY_TOKEN and relative:
            way_out = "remove the gate" if gate.metric is GateMetric.KL else "remove relativeToBaseline"
            yield Problem(
                field=f"{path}.gates[{index}]",
                message=f"{gate.metric} compares with the baseline token by token, and {', '.join(others)} has another "
                f"vocabulary than the baseline: {way_out}, or name models of the same family",
            )


def _note_positions(positions: dict[str, int], root: BaseModel, folder: Path, field: str) -> None:
    """Note under a model's name the most tokens that it can be given, where it says so.

    Raises:
        ConfigurationError: transformers does not know the model.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, **remote_code.options(folder))
    except (OSError, ValueError) as error:
        message = f"{name_of(root)} cannot be loaded: {error}"
        raise ConfigurationError(message, [Problem(field=field, message=message)]) from error
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    if found is not None:
        positions[name_of(root)] = int(found)
