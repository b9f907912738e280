"""Plain TRL: the DPO run a user would write by hand, to compare the product's with. For accelerate launch."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from datasets import load_from_disk
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer


class Clock(TrainerCallback):  # type: ignore[misc]
    """Adds to each entry of the log history when it was made."""

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.log_history[-1]["time"] = time.time()


def main(model: str, data: str, options: str, result: str) -> None:
    """Train on the rows in ``data`` and write the log history to ``result``."""
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(report_to="none", use_cpu=True, bf16=False, disable_tqdm=True, **json.loads(options)),
        processing_class=AutoTokenizer.from_pretrained(model),
        train_dataset=load_from_disk(data),
        callbacks=[Clock()],
    )
    trainer.train()
    if trainer.is_world_process_zero():
        Path(result).write_text(json.dumps(trainer.state.log_history))


if __name__ == "__main__":
    main(*sys.argv[1:])
