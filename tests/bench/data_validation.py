"""What checking a million preference pairs costs, against `datasets.map` that does no more than tokenize them.

Both run in a process of their own with two workers. Ours reads JSON Lines, converts, checks, hashes, measures, shuffles
and writes; the other one tokenizes rows that already lie prepared. Memory is that of the whole tree of processes, with
shared pages counted once. On a busy machine compare processor seconds rather than seconds.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import JobLayout, JobReference
from alignment_api.v1alpha1 import Stage
from tests.bench.cost import Clock, Cost
from tests.bench.memory import watched

ROWS: Final = (100_000, 1_000_000)
WORKERS: Final = 2
JOB: Final = JobReference(namespace="bench", name="data", uid="0123456789abcdef")
STAGE: Final = {
    "name": "dpo",
    "dataset": {"volume": {"path": "pairs.jsonl"}, "evalFraction": 0.02},
    "dpo": {},
}
_VOCABULARY: Final = 8000
_WORDS: Final = 4000
_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def write_pairs(path: Path, count: int) -> None:
    """Write pairs of about 1 KB: a question of 20 to 60 words, and two answers of 20 to 100."""
    draw = random.Random(7)
    words = ["".join(draw.choices("etaoinshrdlucmwfgypbvk", k=draw.randint(2, 9))) for _ in range(_WORDS)]

    def text(shortest: int, longest: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(shortest, longest)))

    with path.open("w") as file:
        for _ in range(count):
            row = {"prompt": text(20, 60), "chosen": text(20, 100), "rejected": text(20, 100)}
            file.write(json.dumps(row) + "\n")


def save_tokenizer(folder: Path, pairs: Path) -> None:
    """Train a byte-level BPE tokenizer on the first pairs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(vocab_size=_VOCABULARY, special_tokens=special, show_progress=False)
    with pairs.open() as file:
        tokenizer.train_from_iterator((line for line, _ in zip(file, range(5000), strict=False)), trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")
    wrapped.chat_template = _TEMPLATE
    wrapped.save_pretrained(str(folder))


def prepare(workspace: Path) -> None:
    """What is measured: our preparation."""
    from alignment_trainer.data.stage import prepare_stage

    status = prepare_stage(Stage.model_validate(STAGE), _tokenizer(workspace), JobLayout(workspace, JOB), "stage")
    assert status is not None
    print(json.dumps(status.to_yaml_dict()))


def tokenize(workspace: Path) -> None:
    """What it is measured against: tokenizing the prepared rows, and nothing else."""
    import datasets

    rows = datasets.load_from_disk(str(JobLayout(workspace, JOB).stage("dpo").data / "train"))
    rows.map(
        _token_ids,
        fn_kwargs={"tokenizer": _tokenizer(workspace)},
        batched=True,
        num_proc=WORKERS,
        remove_columns=rows.column_names,
        cache_file_name=str(workspace / "tokenized.arrow"),
    )


def _token_ids(batch: dict[str, list[Any]], tokenizer: Any) -> dict[str, list[list[int]]]:
    ids: dict[str, list[list[int]]] = {}
    for side in ("chosen", "rejected"):
        turns = [prompt + answer for prompt, answer in zip(batch["prompt"], batch[side], strict=True)]
        texts = tokenizer.apply_chat_template(turns, tokenize=False)
        ids[side] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids


def _tokenizer(workspace: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(workspace / "tokenizer"))


def measured(step: str, workspace: Path) -> Cost:
    """Run a step in a process of its own."""
    clock = Clock()
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, step, str(workspace)], stdout=sys.stderr, env=os.environ
    )
    with watched(process.pid) as peak:
        code = process.wait()
    assert code == 0, f"{step} ended with {code}"
    return clock.cost(peak)


def main() -> None:
    """Run the benchmark and print its table."""
    print("Prepare of preference pairs against datasets.map with 2 processes")
    print(f"  {'rows':>9}{'seconds':>10}{'rows/s':>9}{'peak MB':>9}{'map':>9}{'ratio':>8}{'ratio of CPU':>14}")
    for count in ROWS:
        with tempfile.TemporaryDirectory() as name:
            workspace = Path(name)
            write_pairs(workspace / "pairs.jsonl", count)
            save_tokenizer(workspace / "tokenizer", workspace / "pairs.jsonl")
            ours, plain = measured("prepare", workspace), measured("tokenize", workspace)
            print(
                f"  {count:>9}{ours.seconds:>10.1f}{count / ours.seconds:>9.0f}{ours.peak_bytes / 1e6:>9.0f}"
                f"{plain.seconds:>9.1f}{ours.seconds / plain.seconds:>8.2f}"
                f"{ours.processor_seconds / plain.processor_seconds:>14.2f}",
                flush=True,
            )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"prepare": prepare, "tokenize": tokenize}[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
