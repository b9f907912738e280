"""A training stage, in one process of its gang: build, resume, train, export."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accelerate import PartialState
from datasets import load_from_disk

from alignment_api.contract import AttemptLayout, CheckpointMark, JobLayout, RunConfig, StageLayout, TrainerPhase
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import ModelStatus, Stage

from . import (
    base_models,
    checkpoints,
    device,
    distributed,
    history,
    resolved,
    resume,
    storage,
    trl_imports,
    universal,
    whole_steps,
)
from .attempt import Attempt
from .callbacks.checkpoint import CheckpointCallback
from .callbacks.finished import FinishedCallback, NothingLeftToTrain
from .callbacks.guard import GuardCallback
from .callbacks.preemption import PreemptionCallback
from .callbacks.progress import ProgressCallback
from .checkpoints import Checkpoint
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
from .safe_pickles import read_as_data

_log = logging.getLogger(__name__)
TRAIN: Final = "train"
EVAL: Final = "eval"


def train(config: RunConfig, layout: JobLayout, stage: Stage, attempt: Attempt) -> Outcome:
    """Train ``stage`` to its end, or to the next step after a request to stop.

    Args:
        config: the whole job, the stage in the shape of the attempt.
        layout: its folders.
        stage: the stage.
        attempt: the attempt; it writes below its own folder only, until it exports the model.

    Returns:
        How this process ended; rank 0's has the results.

    Raises:
        ConfigurationError: the tokenizer lacks what the stage needs.
        CheckpointError: there were checkpoints, and none is whole.
        StorageError: the volume is full or cannot be written.
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
    attempt: Attempt
    machine: Device
    process: PartialState

    @property
    def folders(self) -> StageLayout:
        return self.layout.stage(self.stage.name)

    @property
    def own(self) -> AttemptLayout:
        return self.folders.attempt(self.attempt.number)

    def to_its_end(self, closing: ExitStack) -> Outcome:
        """Build, resume, train, export."""
        main = self.process.is_main_process
        files = RunFiles.of_this_process()
        reporter = Reporter(
            files if self.process.is_local_main_process else None,
            self.stage.name,
            self.attempt.number,
            self.own.metrics if main else None,
        )
        if main:
            self.own.checkpoints.mkdir(parents=True, exist_ok=True)
        rows = self._private_copy_of_the_rows()
        resumed, damaged = resume.choose(self.layout, self.attempt, self.process)
        if main:
            checkpoints.remove_abandoned(self.folders, self.attempt.number)
        resumed_from, resharded = self._loadable(resumed)

        progress = ProgressCallback(reporter, files)
        preemption = PreemptionCallback(files)
        keep = self.stage.training.checkpoint.keep
        saving = CheckpointCallback(reporter, self.layout, self.attempt, keep, resumed, damaged)
        guard = self._guard(resumed.marker.step if resumed else 0)
        callbacks = [preemption, guard, saving, progress, FinishedCallback()]
        inputs = self._inputs(
            rows,
            resumed_from,
            [callback for callback in callbacks if callback is not None],
            closing,
        )
        trainer = method_module(self.stage.method).make_trainer(inputs)
        progress.trainer = saving.trainer = trainer
        if guard is not None:
            guard.trainer = trainer
        whole_steps.fill(trainer, self.stage.training.global_batch_size)
        if resharded:
            universal.load_universally(trainer, self.own.resharded)
        if main:
            resumed_at = resumed.marker.step if resumed is not None else 0
            resolved.record(inputs, trainer.args, self.config, self.layout, self.attempt, resumed_at)
        if resumed is not None:
            _log.info("resuming from step %d: %s", resumed.marker.step, resumed.folder)
            trl_imports.set_trained_tokens(trainer, resumed.marker.tokens)
            reporter.checkpoint(resumed.mark(self.layout))
        # A copy for a gang of another size is DeepSpeed's converter's, which has read the checkpoint already.
        reading = read_as_data() if resumed_from is not None and not resharded else nullcontext()
        with storage.explained(self.own.root, saving.bytes_needed), reading:
            try:
                trainer.train(resume_from_checkpoint=str(resumed_from) if resumed_from else None)
            except NothingLeftToTrain:
                _log.info("all %d steps are done: exporting", trainer.state.max_steps)
        latest = saving.latest_mark
        if guard is not None and guard.finding is not None:
            raise guard.error(trainer.state.global_step, distributed.agree(latest))
        if preemption.preempted:
            kept = f"the checkpoint of step {latest.step}" if latest else "no checkpoint"
            message = f"stopped at step {trainer.state.global_step} with {kept}"
            return self._outcome(ExitCode.PREEMPTED, latest, message=message)
        reporter.phase(TrainerPhase.EXPORTING)
        model = export_model(trainer, self.stage, inputs.model, self.layout, self.own)
        if main:
            shutil.rmtree(rows, ignore_errors=True)
            shutil.rmtree(self.own.resharded, ignore_errors=True)
            saving.rotate(keep=1)  # the model is published: one is enough to look into, or to train on from
        reporter.phase(TrainerPhase.FINISHED)
        return self._outcome(ExitCode.OK, latest, model=model)

    def _loadable(self, checkpoint: Checkpoint | None) -> tuple[Path | None, bool]:
        """Where to load ``checkpoint`` from, and whether that is a copy for a gang of another size."""
        if checkpoint is None:
            return None, False
        written_by, processes = checkpoint.marker.processes, self.process.num_processes
        partitioned = self.config.spec.runtime_of(self.stage).deepspeed.zero_stage > 0
        if not partitioned or written_by in (None, processes):
            return checkpoint.folder, False
        with storage.explained(self.own.root, lambda: checkpoint.marker.size):
            return universal.reshard(checkpoint, self.own.resharded, self.process), True

    def _guard(self, resumed_at: int) -> GuardCallback | None:
        """The stage's guard, if it has one, with what the steps before ``resumed_at`` reported."""
        if not guard_of(self.stage).enabled:
            return None
        first_lengths = history.values_of(MEAN_LENGTH, self.folders, self.attempt.number - 1, resumed_at)
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
