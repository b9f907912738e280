"""The questions of a task, and how a model scores on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Self

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.models.utils import normalize_gen_kwargs
from pydantic import BaseModel, ConfigDict

from alignment_api.contract import StageLayout
from alignment_api.v1alpha1 import GateMetric
from alignment_api.v1alpha1.evaluation import HarnessTask

from ...measurement import Measurement
from .. import units
from ..units import Unit
from .building import Built, build, saved
from .definition import Definition
from .refusals import Refused, explained
from .scoring import scoring_of

DEFINITION: Final = "task.json"
SUMMARY: Final = "questions.json"


def folder_of(task: HarnessTask, folders: StageLayout) -> Path:
    """Where Prepare leaves what it takes to build the task's questions; its completion marker holds their digests."""
    return folders.data / "tasks" / task.name


class Summary(BaseModel):
    """What Prepare found of the questions.

    Attributes:
        digest: SHA-256 over all requests and how they are scored.
        longest_answer: most tokens that a model is let write; 0 if it is only asked how likely given answers are.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    longest_answer: int

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What is noted in the folder of a task."""
        return cls.model_validate_json((folder / SUMMARY).read_bytes())


@dataclass(frozen=True)
class _Question:
    """A question of a task that has so many of them."""

    task: ConfigurableTask
    requests: list[Instance]
    of: int


class Questions:
    """A task's questions as requests to a model.

    Args:
        built: the task.
        settings: examples before each question, how many questions, and the metric.
        field: path of the task in the manifest, for errors.

    Raises:
        Refused: they cannot be made, or the task has no such metric.
    """

    def __init__(self, built: Built, settings: HarnessTask, field: str) -> None:
        self.settings = settings
        self.field = field
        self._scoring = scoring_of(built, settings.metric)
        self._questions: list[_Question] = []
        for task in built.tasks:
            try:
                self._questions += _questions_of(task, settings)
            except Refused:
                raise
            except Exception as error:  # templates and functions of the task
                message = f"the questions of {task.task_name} cannot be made: {type(error).__name__}: {error}"
                raise Refused(message) from error

    @classmethod
    def load(cls, settings: HarnessTask, folders: StageLayout, field: str) -> Questions:
        """The questions that Prepare found.

        Args:
            settings: the task.
            folders: folders of the stage.
            field: path of the task in the manifest, for errors.

        Raises:
            ConfigurationError: they come out otherwise than in Prepare.
        """
        folder = folder_of(settings, folders)
        with explained(field):
            questions = cls.from_folder(settings, folder, field)
            if questions.digest != Summary.load(folder).digest:
                raise Refused("the questions come out otherwise each time they are made, by chance: name another task")
        return questions

    @classmethod
    def from_folder(cls, settings: HarnessTask, folder: Path, field: str) -> Questions:
        """The questions of the task that is defined in ``folder``; its data is read from there too.

        Raises:
            Refused: they cannot be made.
        """
        definition = Definition.model_validate_json((folder / DEFINITION).read_bytes())
        return cls(build(definition, saved(folder)), settings, field)

    def __len__(self) -> int:
        return len(self._questions)

    def summary(self) -> Summary:
        """What tells the questions from others, and what they ask of a model."""
        return Summary(digest=self.digest, longest_answer=self._longest_answer())

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all requests and how they are scored."""
        digest = hashlib.sha256(f"{self._scoring.metric},{self._scoring.filter}\n".encode())
        for question in self._questions:
            for request in question.requests:
                asked = [question.task.task_name, request.doc_id, request.request_type, request.args]
                digest.update(json.dumps(asked, sort_keys=True, default=str).encode() + b"\n")
        return digest.hexdigest()

    def _longest_answer(self) -> int:
        options = [r.args[1] for q in self._questions for r in q.requests if r.request_type == "generate_until"]
        return max((int(normalize_gen_kwargs(each)["max_gen_toks"]) for each in options), default=0)

    def sample(self, count: int) -> list[int]:
        """Numbers of the first ``count`` questions of every task."""
        by_task = groupby(range(len(self)), key=lambda number: self._questions[number].task.task_name)
        return [number for _, numbers in by_task for number in list(numbers)[:count]]

    def characters(self, number: int) -> int:
        """How long a question is, with its answers."""
        return sum(len(str(part)) for request in self._questions[number].requests for part in request.args)

    def score(self, model: Any, numbers: Sequence[int]) -> list[Unit]:
        """Two numbers for each question.

        Args:
            model: the harness's wrapper of a model, as `wrapped` makes it.
            numbers: the questions, from 0.

        Raises:
            Refused: the metric of a question is no number.
        """
        if not numbers:
            return []
        torch.manual_seed(DEFAULT_OTHER_SEED + numbers[0])
        asked = [[_unanswered(request) for request in self._questions[number].requests] for number in numbers]
        _answer(model, [request for requests in asked for request in requests])
        return [
            self._scored(self._questions[number], requests) for number, requests in zip(numbers, asked, strict=True)
        ]

    def _scored(self, question: _Question, requests: list[Instance]) -> Unit:
        task = question.task
        task._instances = requests
        task.apply_filters()
        task._instances = None
        answers = [request.filtered_resps[self._scoring.filter] for request in requests]
        try:
            values = task.process_results(requests[0].doc, answers)
        except Exception as error:  # functions of the task
            raise Refused(f"{task.task_name} cannot be scored: {type(error).__name__}: {error}") from error
        if self._scoring.metric not in values:
            raise Refused(f"{task.task_name} gives no {self._scoring.metric}: name one of {', '.join(values)}")
        try:
            return self._scoring.of(values[self._scoring.metric], question.of)
        except (TypeError, ValueError) as error:
            raise Refused(f"metric {self._scoring.metric} of {task.task_name} is no number: {error}") from error

    def measurement(self, candidate: str, own: Sequence[Unit], baseline: Sequence[Unit]) -> Measurement:
        """The score of a candidate.

        Args:
            candidate: its name.
            own: the candidate's units, one for each question.
            baseline: the baseline's.
        """
        transform = self._scoring.transform
        return units.measurement(GateMetric.TASK, self.settings.name, candidate, own, baseline, transform)


def _questions_of(task: ConfigurableTask, settings: HarnessTask) -> list[_Question]:
    if settings.few_shot is not None:
        if settings.few_shot and task.config.num_fewshot == 0:
            raise Refused(f"{task.task_name} is asked without examples, as its definition says: remove fewShot")
        task.set_config("num_fewshot", settings.few_shot)
    elif task.config.num_fewshot is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(DEFAULT_OTHER_SEED)
    task.build_all_requests(limit=settings.limit)
    groups = groupby(task.instances, key=lambda request: request.doc_id)
    found = [sorted(requests, key=lambda request: request.idx) for _, requests in groups]
    task._instances = None
    return [_Question(task, requests, len(found)) for requests in found]


def _unanswered(request: Instance) -> Instance:
    fresh = copy(request)
    fresh.resps, fresh.filtered_resps = [], {}
    return fresh


def _answer(model: Any, requests: Sequence[Instance]) -> None:
    """Let the model answer each request as often as it is to be repeated."""
    for kind in sorted({request.request_type for request in requests}):
        repeated = [r for r in requests if r.request_type == kind for _ in range(r.repeats or 1)]
        for request, answer in zip(repeated, getattr(model, kind)(repeated, disable_tqdm=True), strict=True):
            request.resps.append(answer)
