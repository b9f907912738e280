"""Runs the plain TRL script on the rows of a stage, the way a user would: by hand, under ``accelerate launch``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..ports import free_port

_SCRIPT = Path(__file__).with_name("plain_dpo.py")


def run_plain_dpo(
    model: Path, rows: Path, options: dict[str, Any], deepspeed: dict[str, Any], folder: Path
) -> list[dict[str, Any]]:
    """Train on two processes.

    Args:
        model: folder of the model.
        rows: prepared training rows.
        options: DPOConfig options beside those that the script sets.
        deepspeed: accelerate's DeepSpeed section.
        folder: an existing folder for its files.

    Returns:
        The log history; each entry has the ``time`` it was made, seconds since the epoch.
    """
    config = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "DEEPSPEED",
        "num_machines": 1,
        "num_processes": 2,
        "main_process_port": free_port(),
        "use_cpu": True,
        "deepspeed_config": deepspeed,
    }
    accelerate = folder / "accelerate.json"
    accelerate.write_text(json.dumps(config))
    result = folder / "plain.json"
    options = {"output_dir": str(folder / "out"), "save_strategy": "no", **options}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(accelerate)),
            *(str(_SCRIPT), str(model), str(rows), json.dumps(options), str(result)),
        ],
        env=os.environ | {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    history: list[dict[str, Any]] = json.loads(result.read_text())
    return history
