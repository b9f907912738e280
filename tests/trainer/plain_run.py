"""Runs the plain TRL script on the rows of a stage, the way a user would: by hand, under ``accelerate launch``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from alignment_api.v1alpha1 import Method

from ..ports import free_port

_SCRIPT: Final = Path(__file__).with_name("plain_trl.py")
ZERO_3: Final = {"zero_stage": 3, "gradient_accumulation_steps": 1, "gradient_clipping": 1.0}


def run_plain(
    method: Method,
    model: Path,
    rows: Path,
    options: dict[str, Any],
    folder: Path,
    *,
    deepspeed: dict[str, Any] | None = None,
    lora: dict[str, Any] | None = None,
    reference: Path | None = None,
    rewards: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Train on two processes.

    Args:
        method: the method, which names TRL's classes.
        model: folder of the model.
        rows: prepared training rows.
        options: options of the TRL config beside those that the script sets.
        folder: an existing folder for its files.
        deepspeed: accelerate's DeepSpeed section; plain ZeRO-3 if not given.
        lora: PEFT's LoraConfig, if an adapter is trained.
        reference: folder of the reference model, if it is another.
        rewards: dotted names of reward functions, of online methods.

    Returns:
        The log history; each entry has the ``time`` it was made, seconds since the epoch.
    """
    run = arguments(method, model, rows, options, folder, lora=lora, reference=reference, rewards=rewards)
    return launch([run], folder, deepspeed=deepspeed)[0]


def arguments(
    method: Method,
    model: Path,
    rows: Path,
    options: dict[str, Any],
    folder: Path,
    *,
    lora: dict[str, Any] | None = None,
    reference: Path | None = None,
    rewards: Sequence[str] = (),
) -> dict[str, Any]:
    """What the script is told of one run; see `run_plain`. Runs that are launched together need different methods."""
    return {
        "method": method.value,
        "model": str(model),
        "rows": str(rows),
        "options": {"output_dir": str(folder / "out"), "save_strategy": "no", **options},
        "lora": lora,
        "reference": str(reference) if reference else None,
        "rewards": list(rewards),
        "result": str(folder / f"{method.value}.json"),
    }


def launch(
    runs: Sequence[dict[str, Any]], folder: Path, *, deepspeed: dict[str, Any] | None = None
) -> list[list[dict[str, Any]]]:
    """Train one run after the other on the same two processes, whose start takes longer than a short run.

    Args:
        runs: their `arguments`.
        folder: an existing folder for files.
        deepspeed: accelerate's DeepSpeed section; plain ZeRO-3 if not given.

    Returns:
        The log history of each run.
    """
    config = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "DEEPSPEED",
        "num_machines": 1,
        "num_processes": 2,
        "main_process_port": free_port(),
        "use_cpu": True,
        "deepspeed_config": deepspeed or ZERO_3,
    }
    accelerate = folder / "accelerate.json"
    accelerate.write_text(json.dumps(config))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(accelerate)),
            *(str(_SCRIPT), json.dumps(list(runs))),
        ],
        env=os.environ | {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(Path(run["result"]).read_text()) for run in runs]
