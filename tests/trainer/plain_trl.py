"""Plain TRL: the runs a user would write by hand, to compare the product's with. For accelerate launch."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from datasets import load_from_disk
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

CLASSES: Final = {
    "sft": ("trl", "SFT"),
    "reward": ("trl", "Reward"),
    "dpo": ("trl", "DPO"),
    "kto": ("trl", "KTO"),
    "orpo": ("trl.experimental.orpo", "ORPO"),
    "cpo": ("trl.experimental.cpo", "CPO"),
    "simpo": ("trl.experimental.cpo", "CPO"),
    "grpo": ("trl", "GRPO"),
    "rloo": ("trl", "RLOO"),
}
"""Method -> module and the stem of its config and trainer classes."""


class Clock(TrainerCallback):  # type: ignore[misc]
    """Adds to each entry of the log history when it was made."""

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.log_history[-1]["time"] = time.time()


def main(run: dict[str, Any]) -> None:
    """Train as `plain_run.arguments` says and write the log history."""
    module, stem = CLASSES[run["method"]]
    classes = importlib.import_module(module)
    config = getattr(classes, f"{stem}Config")(
        report_to="none", use_cpu=True, bf16=False, disable_tqdm=True, **run["options"]
    )
    more: dict[str, Any] = {}
    if run["lora"]:
        more["peft_config"] = LoraConfig(**run["lora"])
    if run["reference"]:
        more["ref_model"] = AutoModelForCausalLM.from_pretrained(run["reference"], dtype="float32")
    if run["rewards"]:
        names = (name.rsplit(".", 1) for name in run["rewards"])
        more["reward_funcs"] = [getattr(importlib.import_module(path), function) for path, function in names]
    trainer = getattr(classes, f"{stem}Trainer")(
        model=run["model"],
        args=config,
        processing_class=AutoTokenizer.from_pretrained(run["model"]),
        train_dataset=load_from_disk(run["rows"]),
        callbacks=[Clock()],
        **more,
    )
    trainer.train()
    if trainer.is_world_process_zero():
        Path(run["result"]).write_text(json.dumps(trainer.state.log_history))


if __name__ == "__main__":
    for arguments in json.loads(sys.argv[1]):
        main(arguments)
    # Threads of torch's process group outlive the interpreter, and now and then abort a run that is over.
    sys.stdout.flush()
    os._exit(0)
