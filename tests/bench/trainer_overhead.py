"""What the product costs while it trains: tokens per second of its DPO stage against a plain TRL script.

Both train the same model on the same rows with the same seed and DeepSpeed configuration, two processes with ZeRO-3 on
the CPU, in turn. Ours runs whole: supervisor, progress, a request to stop looked for after each step. A run is measured
between two entries of its log, so that both leave out start-up, the first steps and the export. Steps of the tiny model
take about 0.1 s: what is a share of them here is none of a real model's. Needs a quiet machine: on two busy cores the
ratio of a pair says more about the neighbours.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method, Runtime
from alignment_trainer.launch.accelerate_config import deepspeed_config
from tests.trainer import tiny
from tests.trainer.conftest import Workspace, stage_of, workspace_in
from tests.trainer.plain_run import run_plain

PAIRS: Final = 3
STEPS: Final = 120
FIRST_MEASURED: Final = 20
LOGGING_STEPS: Final = 10
ROWS_PER_PROCESS: Final = (4, 32)
LEARNING_RATE: Final = 1e-5


@dataclass(frozen=True)
class Run:
    """One run, measured from the end of step `FIRST_MEASURED` to the end of the last.

    Attributes:
        seconds: how long that took.
        loss: the last loss, which tells that both computed the same.
    """

    seconds: float
    loss: float


def measure_ours(workspace: Workspace, name: str, rows_per_process: int) -> tuple[Run, int]:
    """Run a DPO stage of a job; its measurement and the tokens of all its steps."""
    training = {
        "globalBatchSize": 2 * rows_per_process,
        "microBatchSize": rows_per_process,
        "maxSteps": STEPS,
        "learningRate": LEARNING_RATE,
        "schedule": "constant",
        "warmupRatio": 0,
        "gradientCheckpointing": False,
        "loggingSteps": LOGGING_STEPS,
        "checkpoint": {"everySteps": STEPS},
    }
    workspace.add_stage_data(name, tiny.preference_rows(256))
    stage = stage_of(Method.DPO, training=training) | {"name": name}
    job = workspace.write_job({"runtime": {"processesPerNode": 2}, "stages": [stage]})
    summary = workspace.run(job, name)
    assert summary.exit_code == ExitCode.OK, summary.message
    assert summary.progress is not None
    history = workspace.metrics(name)
    for entry in history:
        entry["time"] = datetime.fromisoformat(entry["time"]).timestamp()
    return _measured(history), summary.progress.tokens


def measure_plain(workspace: Workspace, name: str, rows_per_process: int) -> tuple[Run, dict[int, int]]:
    """Run the plain script on the rows of stage ``name``; its measurement and the tokens up to each logged step."""
    folder = workspace.root / f"plain-{name}"
    folder.mkdir()
    deepspeed = folder / "deepspeed.json"
    deepspeed.write_text(json.dumps(deepspeed_config(Runtime.model_validate({"processesPerNode": 2}))))
    options = {
        "max_steps": STEPS,
        "per_device_train_batch_size": rows_per_process,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "gradient_checkpointing": False,
        "logging_steps": LOGGING_STEPS,
        "seed": 42,
    }
    section = {"deepspeed_config_file": str(deepspeed), "zero3_init_flag": False}
    rows = workspace.layout.stage(name).data / "train"
    history = run_plain(Method.DPO, workspace.root / "models/tiny", rows, options, folder, deepspeed=section)
    return _measured(history), {entry["step"]: entry["num_tokens"] for entry in history if "num_tokens" in entry}


def _measured(history: list[dict[str, Any]]) -> Run:
    by_step = {entry["step"]: entry for entry in history if "loss" in entry}
    seconds = by_step[STEPS]["time"] - by_step[FIRST_MEASURED]["time"]
    return Run(seconds=seconds, loss=by_step[STEPS]["loss"])


def main() -> None:
    """Run the benchmark and print a table for each batch size: what a step costs us weighs less in a longer step."""
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "model"
        model.mkdir()
        tiny.save_model(model)
        with workspace_in(Path(name), model) as workspace:
            for rows in ROWS_PER_PROCESS:
                compare(workspace, rows)


def compare(workspace: Workspace, rows_per_process: int) -> None:
    """Run pairs of one batch size, ours and plain in turn, and print their speeds and ratios."""
    print(
        f"DPO, 2 processes of {rows_per_process} rows, ZeRO-3, CPU: tokens/s of steps {FIRST_MEASURED + 1} to {STEPS}"
    )
    print(f"  {'pair':<6}{'ours':>10}{'plain TRL':>12}{'ratio':>8}", flush=True)
    ratios = []
    for pair in range(1, PAIRS + 1):
        stage = f"dpo-{rows_per_process}-{pair}"
        ours, total = measure_ours(workspace, stage, rows_per_process)
        plain, tokens = measure_plain(workspace, stage, rows_per_process)
        assert total == tokens[STEPS], "both train on the same tokens"
        assert abs(ours.loss - plain.loss) < 1e-4, "both compute the same"
        measured = tokens[STEPS] - tokens[FIRST_MEASURED]
        ratios.append(plain.seconds / ours.seconds)
        rates = f"{measured / ours.seconds:>10.0f}{measured / plain.seconds:>12.0f}"
        print(f"  {pair:<6}{rates}{ratios[-1]:>8.3f}", flush=True)
    print(f"  ratio: median {median(ratios):.3f}, min {min(ratios):.3f}, max {max(ratios):.3f}", flush=True)


if __name__ == "__main__":
    main()
