"""Prepare: everything that can be wrong with a job's models, data and options is found here, before any gang starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import datasets

from alignment_api.contract import JobLayout, Problem, RunConfig, StageData, Summary
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import AlignmentJobSpec, BaseModelSource, DataStatus, ModelSource, Stage, uses
from alignment_api.v1alpha1.methods.sft import LossOn
from alignment_api.v1alpha1.uses import ModelKind

from . import base_models, prepare_evaluation, rewards
from .base_models import BaseModel
from .data import store
from .data.stage import prepare_stage
from .exceptions import ConfigurationError, DataError, StorageError, TrainerError, combined
from .methods import kto, prompts
from .models import chat_template, compatibility, reward_model
from .models.tokenizer import load_tokenizer
from .prepared import Prepared
from .promotion import destinations
from .registry import check_options

_log = logging.getLogger(__name__)


def main(config: RunConfig, layout: JobLayout) -> Summary:
    """Prepare all stages and publish the result as ``prepared.json``.

    A Prepare that was killed is simply run again: complete stages and downloads are kept.

    Args:
        config: the job.
        layout: its folders.

    Returns:
        The numbers of every stage's data.

    Raises:
        ConfigurationError: options, models or the chat template are wrong; with every problem found, of rows too.
        DataError: rows are wrong, with every problem found, over all stages.
        FunctionError: a reward cannot be computed, and nothing of the above is wrong.
        UnavailableError: the hub cannot be reached, and nothing else is wrong.
        StorageError: the workspace cannot be written.
    """
    datasets.disable_progress_bars()
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        prepared = _Preparation(config.spec, layout).run()
        prepared.save(layout)
    except OSError as error:
        raise StorageError(f"the workspace cannot be used: {error}") from error
    data = [StageData(stage=name, data=status) for name, status in prepared.data.items()]
    return Summary(exit_code=ExitCode.OK, message="all data and options are sound", data=data)


class _Preparation:
    """One run over all stages, which notes errors and goes on to find the others."""

    def __init__(self, spec: AlignmentJobSpec, layout: JobLayout) -> None:
        self._spec = spec
        self._layout = layout
        self._errors: list[TrainerError] = []
        self._folders: dict[BaseModel, Path] = {}
        self._tokenizers: dict[BaseModel, Any] = {}

    def run(self) -> Prepared:
        paths = {stage.name: f"spec.stages[{index}]" for index, stage in enumerate(self._spec.stages)}
        for stage in self._spec.stages:
            self._check_options(stage, paths[stage.name])
            self._fetch_models(stage, paths[stage.name])
            self._check_reward_models(stage, paths[stage.name])
        for stage in self._spec.stages:
            self._check_fit(stage, paths[stage.name])
        data: dict[str, DataStatus] = {}
        # Stages that hold rows out come before those that evaluate on them.
        for stage in sorted(self._spec.stages, key=lambda stage: stage.dataset.held_out_from_stage is not None):
            status = self._prepare_data(stage, paths[stage.name], data)
            if status is not None:
                data[stage.name] = status
        for stage in self._spec.stages:
            path = paths[stage.name]
            if stage.online is not None:
                self._try_rewards(stage, path, has_data=stage.name in data)
            self._errors += prepare_evaluation.errors(
                stage, self._spec, self._folders, self._base_tokenizer, self._layout, path
            )
        self._check_promotion()
        if self._errors:
            raise combined(self._errors)
        return self._prepared(data)

    def _check_options(self, stage: Stage, path: str) -> None:
        problems = check_options(stage, self._spec.runtime_of(stage), path=path)
        if problems:
            self._errors.append(ConfigurationError(f"options of stage {stage.name} are wrong", problems))

    def _check_promotion(self) -> None:
        for index, place in enumerate(self._spec.promotion.to if self._spec.promotion is not None else ()):
            try:
                destinations.check(place, f"spec.promotion.to[{index}]", self._layout)
            except TrainerError as error:
                self._errors.append(error)

    def _fetch_models(self, stage: Stage, path: str) -> None:
        for below, source in base_models.sources(stage, self._spec):
            if source is None:
                message = f"stage {stage.name} has no model to start from: set spec.model or {path}.model"
                self._errors.append(ConfigurationError(message, [Problem(field="spec.model", message=message)]))
                continue
            field = "spec.model" if source is self._spec.model else f"{path}.{below}"
            base = base_models.base_of(source)
            if base is None or base in self._folders:
                continue
            try:
                _log.info("model %s", base_models.name_of(base))
                self._folders[base] = base_models.fetch(base, self._layout, field)
            except TrainerError as error:
                self._errors.append(error)

    def _check_reward_models(self, stage: Stage, path: str) -> None:
        for use in uses.models(stage):
            base = base_models.base_of(use.source)
            if use.kind is ModelKind.REWARD_MODEL and base in self._folders:
                try:
                    reward_model.check(self._folders[base], f"{path}.{use.field}")
                except TrainerError as error:
                    self._errors.append(error)

    def _check_fit(self, stage: Stage, path: str) -> None:
        problems = list(compatibility.problems(stage, self._spec, self._folders, path))
        if problems:
            self._errors.append(ConfigurationError(f"the models of stage {stage.name} do not fit", problems))

    def _prepare_data(self, stage: Stage, path: str, done: dict[str, DataStatus]) -> DataStatus | None:
        """Numbers of the stage's data; None if something is wrong, here or in what it builds on."""
        other = stage.dataset.held_out_from_stage
        if other is not None and other not in done:
            return None
        try:
            status = prepare_stage(stage, self._tokenizer(stage), self._layout, path)
        except TrainerError as error:
            self._errors.append(error)
            return None
        if status is not None:
            _log.info("stage %s: %d rows to train on, %d held out", stage.name, status.train_rows, status.eval_rows)
            self._check_prompts(stage, path)
            self._check_labels(stage, path)
        return status

    def _check_labels(self, stage: Stage, path: str) -> None:
        if stage.kto is None:
            return
        rows = datasets.load_from_disk(str(self._layout.stage(stage.name).data / store.TRAIN))
        problems = kto.row_problems(stage, rows, path)
        if problems:
            self._errors.append(DataError(f"the labels of stage {stage.name} cannot be used", problems))

    def _check_prompts(self, stage: Stage, path: str) -> None:
        if stage.online is None:
            return
        base = base_models.root_of(stage, self._spec)
        folder = self._folders[base] if base is not None else None
        data = self._layout.stage(stage.name).data
        problems = list(prompts.problems(stage, data, self._tokenizer(stage), folder, path))
        if problems:
            self._errors.append(DataError(f"the prompts of stage {stage.name} cannot be used", problems))

    def _try_rewards(self, stage: Stage, path: str, *, has_data: bool) -> None:
        folders = self._layout.stage(stage.name)
        rows: list[dict[str, Any]] = []
        if has_data:
            table = datasets.load_from_disk(str(folders.data / store.TRAIN))
            rows = list(table.select(range(min(rewards.DRY_RUN_ROWS, len(table)))))
        self._errors += rewards.dry_run(stage, path, rows, self._tokenizer(stage), folders.report)

    def _tokenizer(self, stage: Stage) -> Any | None:
        """The stage's tokenizer; None if there is none, which has been noted as an error."""
        base = base_models.root_of(stage, self._spec)
        tokenizer = self._base_tokenizer(base) if base is not None else None
        if tokenizer is not None and stage.sft is not None and stage.sft.loss_on is LossOn.ASSISTANT:
            self._require_generation_marks(stage, tokenizer)
        return tokenizer

    def _base_tokenizer(self, base: BaseModel) -> Any | None:
        """The tokenizer of a base model; None if there is none, which has been noted as an error."""
        if base not in self._folders:
            return None
        if base not in self._tokenizers:
            self._tokenizers[base] = self._load_tokenizer(self._folders[base])
        return self._tokenizers[base]

    def _load_tokenizer(self, folder: Path) -> Any | None:
        try:
            tokenizer = load_tokenizer(str(folder), self._spec.tokenizer)
        except TrainerError as error:
            self._errors.append(error)
            return None
        except (OSError, ValueError) as error:
            message = f"the tokenizer in {folder.name} cannot be loaded: {error}"
            self._errors.append(ConfigurationError(message, [Problem(field="spec.model", message=message)]))
            return None
        if tokenizer.chat_template is None:
            message = "the model has no chat template of its own: name one (chatml, llama3) or write one inline"
            problem = Problem(field=chat_template.FIELD, message=message)
            self._errors.append(ConfigurationError("there is no chat template", [problem]))
            return None
        return tokenizer

    def _require_generation_marks(self, stage: Stage, tokenizer: Any) -> None:
        if "{% generation" not in tokenizer.chat_template.replace("{%-", "{%"):
            message = (
                f"stage {stage.name} wants loss on assistant turns, but the template does not mark them: wrap "
                "assistant text in {% generation %}, or set sft.lossOn to completion or all"
            )
            problem = Problem(field=chat_template.FIELD, message=message)
            self._errors.append(ConfigurationError("the chat template has no generation marks", [problem]))

    def _folder(self, source: ModelSource | BaseModelSource) -> str:
        """Where a model of this job will lie when its stage starts, relative to the workspace."""
        base = base_models.base_of(source)
        if base is not None:
            return self._layout.relative(self._folders[base])
        return self._layout.relative(self._layout.stage(getattr(source, "from_stage", "")).model)

    def _prepared(self, data: dict[str, DataStatus]) -> Prepared:
        models = {
            stage.name: {
                field: self._folder(source)
                for field, source in base_models.sources(stage, self._spec)
                if source is not None
            }
            for stage in self._spec.stages
        }
        ordered = {stage.name: data[stage.name] for stage in self._spec.stages}
        return Prepared(models=models, data=ordered, trusted=self._trusted())

    def _trusted(self) -> list[str]:
        """Folders of models that may bring code: base models, and what stages make of them."""
        folders = [self._folders[base] for base in self._folders if base.trust_remote_code]
        for stage in self._spec.stages:
            root = base_models.root_of(stage, self._spec)
            if stage.evaluate is None and root is not None and root.trust_remote_code:
                folders.append(self._layout.stage(stage.name).model)
        return [self._layout.relative(folder) for folder in folders]
