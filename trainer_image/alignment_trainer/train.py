"""A training stage, in one process of its gang: build, resume, train, export."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any, Final

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import load_from_disk

from alignment_api.contract import JobLayout, RunConfig, TrainerPhase
from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Stage

from . import base_models, checkpoints, device, distributed, trl_imports
from .callbacks.checkpoint import CheckpointCallback
from .callbacks.finished import FinishedCallback, NothingLeftToTrain
from .callbacks.preemption import PreemptionCallback
from .callbacks.progress import ProgressCallback
from .files import write_atomically
from .methods.inputs import TrainerInputs
from .models import adapter
from .models.export import export_model
from .models.tokenizer import load_tokenizer
from .prepared import Prepared
from .registry import build_config, method_module
from .reporter import Reporter
from .run_files import Outcome, RunFiles

_log = logging.getLogger(__name__)
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
    runtime = config.spec.runtime_of(stage)
    machine = device.detect()
    folders = layout.stage(stage.name)
    own = folders.attempt(attempt)
    base = str(layout.workspace / Prepared.load(layout).models[stage.name][base_models.MODEL])
    files = RunFiles.of_this_process()
    process = distributed.join_gang(machine, runtime)
    trl_config = build_config(
        stage, runtime, output_dir=own.checkpoints, device=machine, evaluates=(folders.data / EVAL).is_dir()
    )
    reporter = Reporter(
        files if process.is_local_main_process else None,
        stage.name,
        attempt,
        own.metrics if process.is_main_process else None,
    )
    if process.is_main_process:
        own.checkpoints.mkdir(parents=True, exist_ok=True)
        write_atomically(own.resolved, json.dumps(trl_config.to_dict(), indent=2, default=str))
    rows = _private_copy(folders.data, own.root / "data", process)
    resumed = _agree(checkpoints.newest(folders, attempt) if process.is_main_process else None)

    progress = ProgressCallback(reporter, files)
    preemption = PreemptionCallback(files)
    saving = CheckpointCallback(
        reporter, layout, stage.training.checkpoint.keep, resumed.mark(layout) if resumed else None
    )
    trainer = _make_trainer(stage, config, trl_config, base, rows, [preemption, saving, progress, FinishedCallback()])
    progress.trainer = saving.trainer = trainer
    if resumed is not None:
        _log.info("resuming from step %d: %s", resumed.marker.step, resumed.folder)
        trl_imports.set_trained_tokens(trainer, resumed.marker.tokens)
        reporter.checkpoint(resumed.mark(layout))
    try:
        trainer.train(resume_from_checkpoint=str(resumed.folder) if resumed else None)
    except NothingLeftToTrain:
        _log.info("all %d steps are done: exporting", trainer.state.max_steps)
    if preemption.preempted:
        return Outcome(
            rank=process.process_index,
            exit_code=ExitCode.PREEMPTED,
            time=time.time(),
            message=f"stopped at step {trainer.state.global_step} after a checkpoint",
            checkpoint=saving.latest,
        )
    reporter.phase(TrainerPhase.EXPORTING)
    model = export_model(trainer, stage, base, layout, own)
    if process.is_main_process:
        shutil.rmtree(rows, ignore_errors=True)
    reporter.phase(TrainerPhase.FINISHED)
    return Outcome(
        rank=process.process_index, exit_code=ExitCode.OK, time=time.time(), checkpoint=saving.latest, model=model
    )


def _make_trainer(stage: Stage, config: RunConfig, trl_config: Any, base: str, rows: Path, callbacks: list[Any]) -> Any:
    """The method's TRL trainer on the rows in ``rows``."""
    method = method_module(stage.method)
    return method.make_trainer(
        TrainerInputs(
            stage=stage,
            config=trl_config,
            model=base,
            tokenizer=load_tokenizer(base, config.spec.tokenizer),
            train_dataset=load_from_disk(str(rows / TRAIN)),
            eval_dataset=load_from_disk(str(rows / EVAL)) if (rows / EVAL).is_dir() else None,
            peft_config=adapter.peft_config(stage.adapter, method.PEFT_TASK) if stage.adapter else None,
            quantization_config=adapter.quantization_config(stage.adapter) if stage.adapter else None,
            callbacks=callbacks,
        )
    )


def _private_copy(data: Path, copy: Path, process: PartialState) -> Path:
    """This attempt's copy of the prepared rows; the files themselves are shared by hard links where the volume can.

    Datasets caches what it computes beside the rows. In the attempt's own folder all ranks share those files, and what
    TRL computes with the reference model, whose cache key does not tell one partitioned model from another, can never
    be taken from another attempt or stage.
    """
    if process.is_main_process:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(data, copy, copy_function=_link_or_copy)
    process.wait_for_everyone()
    return copy


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # the volume has no hard links
        shutil.copy2(source, target)
    return target


def _agree(checkpoint: checkpoints.Checkpoint | None) -> checkpoints.Checkpoint | None:
    """Rank 0's choice, on every rank: an earlier gang, cut off but alive, may still be writing checkpoints."""
    choice = [checkpoint]
    broadcast_object_list(choice, from_process=0)
    return choice[0]
