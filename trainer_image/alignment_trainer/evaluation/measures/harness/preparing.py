"""Prepare's part of a task: find it, bring its data, and try a few questions without a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import datasets
from lm_eval.api.instance import Instance

from alignment_api.contract import JobLayout, StageLayout, token_variable
from alignment_api.v1alpha1.evaluation import HarnessTask

from .... import hub
from ....data import built_once
from . import own_task
from .building import Download, build, save_data
from .definition import Definition
from .questions import DEFINITION, SUMMARY, Questions, Summary, folder_of
from .refusals import Refused, explained

_TRIED: Final = 4
"""Questions of each task that are tried."""


class _Silent:
    """A model that answers nothing, and finds everything equally likely."""

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool) -> list[tuple[float, bool]]:
        return [(-1.0, False) for _ in requests]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool) -> list[float]:
        return [-1.0 for _ in requests]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool) -> list[str]:
        return ["" for _ in requests]


def prepare(
    task: HarnessTask, folders: StageLayout, layout: JobLayout, field: str, positions: Mapping[str, int]
) -> None:
    """Leave all that gangs need for the task beside the stage's data, or find it there.

    Args:
        task: the task.
        folders: folders of the stage.
        layout: folders of the job.
        field: path of the task in the manifest.
        positions: name of each model that will be asked -> most tokens that it can be given.

    Raises:
        ConfigurationError: there is no such task, it cannot be run, its answers are too long, or its data is gated.
        DataError: its data is not there, or cannot be read.
        UnavailableError: the hub cannot be reached, and the data is not in the cache.
    """
    folder = folder_of(task, folders)
    source = f"lm_eval {version('lm_eval')} {task.model_dump_json()}"
    with explained(field):
        built_once.build(folder, source, lambda place: _fill(place, task, layout, field))
        longest = Summary.load(folder).longest_answer
        for name, limit in positions.items():
            if longest >= limit:
                raise Refused(
                    f"{task.task} lets models write up to {longest} tokens, and {name} takes {limit} with the "
                    "question: name a task with shorter answers"
                )


def _define(task: HarnessTask, layout: JobLayout) -> Definition:
    if task.folder is None:
        return Definition.of_harness(task.task)
    return own_task.read(layout.workspace / task.folder, task.task, task.folder)


def _fill(folder: Path, task: HarnessTask, layout: JobLayout, field: str) -> None:
    definition = _define(task, layout)
    save_data(build(definition, _from_hub(task, layout, field)), folder)
    (folder / DEFINITION).write_text(definition.model_dump_json())
    questions = Questions.from_folder(task, folder, field)  # as gangs will make them
    questions.score(_Silent(), questions.sample(_TRIED))
    (folder / SUMMARY).write_text(questions.summary().model_dump_json())


def _from_hub(settings: HarnessTask, layout: JobLayout, field: str) -> Download:
    def download(task: Any, options: Mapping[str, Any]) -> Any:
        if task.config.custom_dataset is not None:
            return task.config.custom_dataset(**(task.config.metadata or {}), **options)
        options = {name: value for name, value in options.items() if name != "trust_remote_code"}
        token = os.environ.get(token_variable(settings.token_secret_ref)) if settings.token_secret_ref else None
        with hub.errors_explained(f"{field}.task", f"dataset {task.DATASET_PATH}", has_token=token is not None):
            return datasets.load_dataset(
                task.DATASET_PATH, task.DATASET_NAME, cache_dir=str(layout.cache / "datasets"), token=token, **options
            )

    return download
