"""What the product costs while it trains: tokens per second of a stage against a plain TRL script. PPO has `ppo_peer`.

Both train the same model on the same rows with the same seed and DeepSpeed configuration, two processes with ZeRO-3 on
the CPU, in turn. Ours runs whole: supervisor, progress, guard, a request to stop looked for after each step. A run is
measured between two entries of its log, so that both leave out start-up, the first steps and the export. Steps of the
tiny model take about 0.1 s: what is a share of them here is none of a real model's. Needs a quiet machine: on two busy
cores the ratio of a pair says more about the neighbours.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from alignment_api.exit_codes import ExitCode
from alignment_api.v1alpha1 import Method, Runtime, Stage
from alignment_trainer.launch.accelerate_config import deepspeed_config
from alignment_trainer.registry import method_module
from tests.trainer import tiny
from tests.trainer.conftest import Workspace, stage_of, workspace_in
from tests.trainer.plain_rewards import FUNCTIONS, REWARDS, prompt_rows
from tests.trainer.plain_run import run_plain

PAIRS: Final = 3
STEPS: Final = 120
FIRST_MEASURED: Final = 20
LOGGING_STEPS: Final = 10
ROWS_PER_PROCESS: Final = (4, 32)
ROWS: Final = 256
LEARNING_RATE: Final = 1e-5
RUNTIME: Final = Runtime.model_validate({"processesPerNode": 2})


@dataclass(frozen=True)
class Recipe:
    """How a method is measured.

    Attributes:
        rows: makes so many of its rows.
        member: its member of the stage.
        reorders: whether the product shuffles the rows before TRL does, so that batches and losses differ.
        rewards: dotted names of the plain script's reward functions, which are those of ``member``.
    """

    rows: Callable[[int], list[dict[str, Any]]] = tiny.preference_rows
    member: dict[str, Any] = field(default_factory=dict)
    reorders: bool = False
    rewards: Sequence[str] = ()


_ONLINE: Final[dict[str, Any]] = {"generations": 4, "maxCompletionLength": 12, "rewards": REWARDS}
RECIPES: Final = {
    Method.SFT: Recipe(rows=tiny.completion_rows),
    Method.REWARD: Recipe(),
    Method.DPO: Recipe(),
    Method.KTO: Recipe(
        rows=tiny.labelled_rows, member={"desirableWeight": 1.0, "undesirableWeight": 3.0}, reorders=True
    ),
    Method.ORPO: Recipe(),
    Method.CPO: Recipe(),
    Method.SIMPO: Recipe(),
    Method.GRPO: Recipe(rows=prompt_rows, member=_ONLINE, rewards=FUNCTIONS),
    Method.RLOO: Recipe(rows=prompt_rows, member=_ONLINE, rewards=FUNCTIONS),
}


@dataclass(frozen=True)
class Run:
    """One run, measured from the end of step `FIRST_MEASURED` to the end of the last.

    Attributes:
        seconds: how long that took.
        loss: the last loss, which tells that both computed the same.
    """

    seconds: float
    loss: float


def stage_for(method: Method, name: str, rows_per_process: int) -> dict[str, Any]:
    """The stage as the manifest has it."""
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
    return stage_of(method, training=training, **{method.value: RECIPES[method].member}) | {"name": name}


def measure_ours(workspace: Workspace, stage: dict[str, Any], method: Method) -> tuple[Run, int]:
    """Run the stage of a job; its measurement and the tokens of all its steps."""
    name = stage["name"]
    workspace.add_stage_data(name, RECIPES[method].rows(ROWS))
    job = workspace.write_job({"runtime": RUNTIME.model_dump(mode="json", by_alias=True), "stages": [stage]})
    summary = workspace.run(job, name)
    assert summary.exit_code == ExitCode.OK, summary.message
    assert summary.progress is not None
    history = workspace.metrics(name)
    for entry in history:
        entry["time"] = datetime.fromisoformat(entry["time"]).timestamp()
    return _measured(history), summary.progress.tokens


def measure_plain(workspace: Workspace, stage: dict[str, Any], method: Method) -> Run:
    """Run the plain script with the stage's options on its rows."""
    folder = workspace.root / f"plain-{stage['name']}"
    folder.mkdir()
    deepspeed = folder / "deepspeed.json"
    deepspeed.write_text(json.dumps(deepspeed_config(RUNTIME)))
    options = {
        "max_steps": STEPS,
        "per_device_train_batch_size": stage["training"]["microBatchSize"],
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "gradient_checkpointing": False,
        "logging_steps": LOGGING_STEPS,
        "seed": 42,
    }
    options |= method_module(method).options(Stage.model_validate(stage))
    section = {"deepspeed_config_file": str(deepspeed), "zero3_init_flag": False}
    rows = workspace.layout.stage(stage["name"]).data / "train"
    model = workspace.root / "models/tiny"
    rewards = RECIPES[method].rewards
    return _measured(run_plain(method, model, rows, options, folder, deepspeed=section, rewards=rewards))


def _measured(history: list[dict[str, Any]]) -> Run:
    by_step = {entry["step"]: entry for entry in history if "loss" in entry}
    seconds = by_step[STEPS]["time"] - by_step[FIRST_MEASURED]["time"]
    return Run(seconds=seconds, loss=by_step[STEPS]["loss"])


def main(methods: Sequence[str] = ()) -> None:
    """Print a table for each method and batch size: what a step costs us weighs less in a longer step.

    Args:
        methods: names of the methods; all but PPO if there are none.
    """
    for method in [Method(name) for name in methods] or RECIPES:
        with tempfile.TemporaryDirectory() as name:
            model = Path(name) / "model"
            model.mkdir()
            tiny.save_model(model)
            with workspace_in(Path(name), model) as workspace:
                for rows in ROWS_PER_PROCESS:
                    compare(workspace, method, rows)


def compare(workspace: Workspace, method: Method, rows_per_process: int) -> None:
    """Run pairs of one batch size, ours and plain in turn, and print their speeds and ratios."""
    print(
        f"{method}, 2 processes of {rows_per_process} rows, ZeRO-3, CPU: "
        f"tokens/s of steps {FIRST_MEASURED + 1} to {STEPS}"
    )
    print(f"  {'pair':<6}{'ours':>10}{'plain TRL':>12}{'ratio':>8}{'loss':>12}{'plain':>12}", flush=True)
    ratios = []
    for pair in range(1, PAIRS + 1):
        stage = stage_for(method, f"{method.value}-{rows_per_process}-{pair}", rows_per_process)
        ours, tokens = measure_ours(workspace, stage, method)
        plain = measure_plain(workspace, stage, method)
        if not RECIPES[method].reorders:
            assert abs(ours.loss - plain.loss) < 1e-4, f"both compute the same: {ours.loss}, {plain.loss}"
        measured = tokens * (STEPS - FIRST_MEASURED) / STEPS
        ratios.append(plain.seconds / ours.seconds)
        rates = f"{measured / ours.seconds:>10.0f}{measured / plain.seconds:>12.0f}"
        print(f"  {pair:<6}{rates}{ratios[-1]:>8.3f}{ours.loss:>12.6f}{plain.loss:>12.6f}", flush=True)
    print(f"  ratio: median {median(ratios):.3f}, min {min(ratios):.3f}, max {max(ratios):.3f}", flush=True)


if __name__ == "__main__":
    main()
