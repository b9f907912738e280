"""Builds the harness's task objects, with data from the hub in Prepare and from the workspace in gangs."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import datasets
import numpy as np
from lm_eval.api import task as harness_task
from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

from ....exceptions import TrainerError
from .definition import Definition
from .refusals import Refused, sandbox_templates

Download = Callable[[Any, Mapping[str, Any]], Any]
"""Takes a task and the options of its dataset; returns its splits."""

logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of every model that it did not load itself
harness_task.tqdm = partial(harness_task.tqdm, disable=True)

_DATA: Final = "data"
_OF_OTHERS: Final = ("tag", "group", "task_list")
"""Keys in a task's YAML that are no settings of it."""


@dataclass(frozen=True)
class Built:
    """A task as the harness runs it.

    Attributes:
        tasks: the task, or all tasks of the group.
        group: the group.
    """

    tasks: list[ConfigurableTask]
    group: Group | None


def build(definition: Definition, download: Download) -> Built:
    """The task, with the data that ``download`` brings.

    Random choices of tasks, such as the order of answers, fall alike in every process.

    Raises:
        Refused: the harness cannot make it, or cannot run it on text alone.
        TrainerError: the data cannot be had.
    """
    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    try:
        with _settings(download):
            built = _build(definition)
    except (Refused, TrainerError):
        raise
    except ModuleNotFoundError as error:
        message = f"{definition.name} needs the Python package {error.name}, which the trainer image lacks"
        raise Refused(message) from error
    except Exception as error:  # whatever the code of a task raises
        cause = error.__cause__ or error
        raise Refused(f"{definition.name} cannot be built: {type(cause).__name__}: {cause}") from error
    for task in built.tasks:
        if getattr(task, "MULTIMODAL", False):
            raise Refused(f"{definition.name} shows images or sound, and models are asked by text alone: name another")
    return built


def save_data(built: Built, folder: Path) -> None:
    """Keep the splits that the tasks use, for `saved`."""
    for task in built.tasks:
        config = task.config
        names = {config.training_split, config.validation_split, config.test_split, task.fewshot_cfg.split} - {None}
        splits = datasets.DatasetDict({str(name): task.dataset[name] for name in sorted(names)})
        splits.save_to_disk(_place(folder, task))


def saved(folder: Path) -> Download:
    """The data that `save_data` kept."""
    return lambda task, _options: datasets.load_from_disk(_place(folder, task))


def _place(folder: Path, task: Any) -> str:
    return str(folder / _DATA / quote(str(task.config.task), safe=""))


def _build(definition: Definition) -> Built:
    if definition.config is not None:
        config = {name: value for name, value in definition.config.items() if name not in _OF_OTHERS}
        return Built([ConfigurableTask(config=config)], None)
    loaded = definition.manager().load([definition.name])
    return Built(list(loaded["tasks"].values()), loaded.get("groups", {}).get(definition.name))


@contextmanager
def _settings(download: Download) -> Iterator[None]:
    """Let the harness get data from ``download``, keep none in caches of its own, and write templates safely."""
    sandbox_templates()
    original = ConfigurableTask.download
    caches = datasets.is_caching_enabled()

    def replacement(task: Any, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        task.dataset = download(task, dict(dataset_kwargs or {}))

    datasets.disable_caching()
    ConfigurableTask.download = replacement
    try:
        yield
    finally:
        ConfigurableTask.download = original
        if caches:
            datasets.enable_caching()
