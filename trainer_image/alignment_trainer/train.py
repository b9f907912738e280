"""A training stage, in one process of its gang: build, resume, train, export."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import load_from_disk

from alignment_api.contract import AttemptLayout, CheckpointMark, JobLayout, RunConfig, StageLayout, TrainerPhase
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import ModelStatus, Stage

from . import base_models, checkpoints, device, distributed, history, resolved, trl_imports
from .callbacks.checkpoint import CheckpointCallback
from .callbacks.finished import FinishedCallback, NothingLeftToTrain
from .callbacks.guard import GuardCallback
from .callbacks.preemption import PreemptionCallback
from .callbacks.progress import ProgressCallback
from .device import Device
from .files import link_tree
from .guard.readings import MEAN_LENGTH
from .guard.thresholds import guard_of
from .methods.inputs import TrainerInputs
from .models import adapter, remote_code
from .models.export import export_model
from .models.tokenizer import load_tokenizer
from .prepared import Prepared
from .registry import build_config, method_module
from .reporter import Reporter
from .run_files import Outcome, RunFiles

_log = logging.getLogger(__name__)
Choice = TypeVar("Choice")
TRAIN: Final = "train"
EVAL: Final = "eval"


def train(config: RunConfig, layout: JobLayout, stage: Stage, attempt: int) -> Outcome:
    """Train ``stage`` to its end, or to the next step after a request to stop.

    Args:
        config: the whole job.
        layout: its folders.
        stage: the stage.
        attempt: number of the attempt; it writes below its own folder only, until it exports the model.

    Returns:
        How this process ended; rank 0's has the results.

    Raises:
        ConfigurationError: the tokenizer lacks what the stage needs.
    """
    machine = device.detect()
    process = distributed.join_gang(machine, config.spec.runtime_of(stage))
    run = _Run(config, layout, stage, attempt, machine, process)
    with ExitStack() as closing:
        return run.to_its_end(closing)


@dataclass(frozen=True)
class _Run:
    """One process of an attempt at a stage."""

    config: RunConfig
    layout: JobLayout
    stage: Stage
    attempt: int
    machine: Device
    process: PartialState

    @property
    def folders(self) -> StageLayout:
        return self.layout.stage(self.stage.name)

    @property
    def own(self) -> AttemptLayout:
        return self.folders.attempt(self.attempt)

    def to_its_end(self, closing: ExitStack) -> Outcome:
        """Build, resume, train, export."""
        main = self.process.is_main_process
        files = RunFiles.of_this_process()
        reporter = Reporter(
            files if self.process.is_local_main_process else None,
            self.stage.name,
            self.attempt,
            self.own.metrics if main else None,
        )
        if main:
            self.own.checkpoints.mkdir(parents=True, exist_ok=True)
        rows = self._private_copy_of_the_rows()
        resumed = _agree(checkpoints.newest(self.folders, self.attempt) if main else None)

        progress = ProgressCallback(reporter, files)
        preemption = PreemptionCallback(files)
        saving = CheckpointCallback(
            reporter, self.layout, self.stage.training.checkpoint.keep, resumed.mark(self.layout) if resumed else None
        )
        guard = self._guard(resumed.marker.step if resumed else 0)
        callbacks = [preemption, guard, saving, progress, FinishedCallback()]
        inputs = self._inputs(
            rows,
            resumed.folder if resumed else None,
            [callback for callback in callbacks if callback is not None],
            closing,
        )
        trainer = method_module(self.stage.method).make_trainer(inputs)
        progress.trainer = saving.trainer = trainer
        if guard is not None:
            guard.trainer = trainer
        if main:
            resolved.record(inputs, trainer.args, self.config, self.layout)
        if resumed is not None:
            _log.info("resuming from step %d: %s", resumed.marker.step, resumed.folder)
            trl_imports.set_trained_tokens(trainer, resumed.marker.tokens)
            reporter.checkpoint(resumed.mark(self.layout))
        try:
            trainer.train(resume_from_checkpoint=str(resumed.folder) if resumed else None)
        except NothingLeftToTrain:
            _log.info("all %d steps are done: exporting", trainer.state.max_steps)
        if guard is not None and guard.finding is not None:
            raise guard.error(trainer.state.global_step, _agree(saving.latest))
        if preemption.preempted:
            kept = f"the checkpoint of step {saving.latest.step}" if saving.latest else "no checkpoint"
            message = f"stopped at step {trainer.state.global_step} with {kept}"
            return self._outcome(ExitCode.PREEMPTED, saving.latest, message=message)
        reporter.phase(TrainerPhase.EXPORTING)
        model = export_model(trainer, self.stage, inputs.model, self.layout, self.own)
        if main:
            shutil.rmtree(rows, ignore_errors=True)
        reporter.phase(TrainerPhase.FINISHED)
        return self._outcome(ExitCode.OK, saving.latest, model=model)

    def _guard(self, resumed_at: int) -> GuardCallback | None:
        """The stage's guard, if it has one, with what the steps before ``resumed_at`` reported."""
        if not guard_of(self.stage).enabled:
            return None
        first_lengths = history.values_of(MEAN_LENGTH, self.folders, self.attempt - 1, resumed_at)
        return GuardCallback(self.stage, first_lengths, resumed_at)

    def _inputs(self, rows: Path, resumed_from: Path | None, callbacks: list[Any], closing: ExitStack) -> TrainerInputs:
        """What the stage's method builds its trainer from, with the rows in ``rows``."""
        stage, held_out = self.stage, rows / EVAL
        prepared = Prepared.load(self.layout)
        prepared.trust_models(self.layout)
        models = {field: str(self.layout.workspace / folder) for field, folder in prepared.models[stage.name].items()}
        base = models[base_models.MODEL]
        config = build_config(
            stage,
            self.config.spec.runtime_of(stage),
            output_dir=self.own.checkpoints,
            device=self.machine,
            evaluates=held_out.is_dir(),
        )
        if remote_code.is_trusted(base):
            config.model_init_kwargs = (config.model_init_kwargs or {}) | remote_code.options(base)
        return TrainerInputs(
            stage=stage,
            config=config,
            model=base,
            tokenizer=load_tokenizer(base, self.config.spec.tokenizer),
            train_dataset=load_from_disk(str(rows / TRAIN)),
            attempt=self.own,
            device=self.process.device,
            models=models,
            resumed_from=resumed_from,
            eval_dataset=load_from_disk(str(held_out)) if held_out.is_dir() else None,
            peft_config=adapter.peft_config(stage.adapter, method_module(stage.method).PEFT_TASK)
            if stage.adapter
            else None,
            quantization_config=adapter.quantization_config(stage.adapter) if stage.adapter else None,
            callbacks=callbacks,
            path=f"spec.stages[{self.config.spec.stages.index(stage)}]",
            closing=closing,
        )

    def _private_copy_of_the_rows(self) -> Path:
        """This attempt's copy of the prepared rows; files are shared by hard links where the volume can.

        Datasets caches what it computes beside the rows. In the attempt's own folder all ranks share those files, and
        what TRL computes with the reference model, whose cache key does not tell one partitioned model from another,
        can never be taken from another attempt or stage.
        """
        copy = self.own.root / "data"
        if self.process.is_main_process:
            shutil.rmtree(copy, ignore_errors=True)
            link_tree(self.folders.data, copy)
        self.process.wait_for_everyone()
        return copy

    def _outcome(
        self,
        exit_code: ExitCode,
        checkpoint: CheckpointMark | None,
        *,
        message: str = "",
        model: ModelStatus | None = None,
    ) -> Outcome:
        return Outcome(
            rank=self.process.process_index,
            exit_code=exit_code,
            time=time.time(),
            message=message,
            checkpoint=checkpoint,
            model=model,
        )


def _agree(choice: Choice) -> Choice:
    """Rank 0's choice, on every rank: an earlier gang, cut off but alive, may still be writing checkpoints."""
    shared = [choice]
    broadcast_object_list(shared, from_process=0)
    return shared[0]
