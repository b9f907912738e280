"""What an evaluation costs: 10,000 prompts, two models and a reward judge, against plain batched ``generate``.

Ours runs whole: supervisor, gang, responses kept as they are done, log-probabilities, judge, text metrics, intervals
and report. The peer is what one would write by hand: transformers' ``generate`` on the same prompts with both models,
in batches of the same size, padded on the left, in the order of the file. Both take two processes on the CPU, with
start-up, and sample responses of at most the same length. On a busy machine compare CPU seconds rather than seconds.

    python -m tests.bench evaluation
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

from alignment_api.exit_codes import ExitCode
from alignment_trainer.evaluation.results import EvaluationResults
from tests.bench.cost import Clock, Cost
from tests.bench.memory import watched
from tests.trainer import tiny
from tests.trainer.conftest import Workspace, workspace_in

PROMPTS: Final = 10_000
PROCESSES: Final = 2
BATCH_SIZE: Final = 16
NEW_TOKENS: Final = 48
MODELS: Final = ("tiny", "other")
STAGE: Final = "check"


def prompts(count: int) -> list[list[dict[str, str]]]:
    """Different requests of 3 to 40 words."""
    draw = random.Random(3)
    texts = [f"{' '.join(draw.choices(tiny.WORDS, k=draw.randint(2, 39)))} {number}" for number in range(count)]
    return [[{"role": "user", "content": text}] for text in texts]


def measure_ours(workspace: Workspace, count: int, tokens: int) -> tuple[Cost, EvaluationResults]:
    """Run the stage of a job."""
    rows = [{"prompt": prompt} for prompt in prompts(count)]
    workspace.add_stage_data(STAGE, rows[:1], rows)
    volume = {name: {"volume": {"path": f"models/{name}"}} for name in (*MODELS, "reward")}
    stage = {
        "name": STAGE,
        "dataset": {"inline": {"rows": [{"prepared": "already"}]}, "format": "prompts"},
        "evaluate": {
            "candidate": volume["other"],
            "baseline": volume["tiny"],
            "generation": {"maxNewTokens": tokens, "temperature": 1.0, "batchSize": BATCH_SIZE},
            "judges": [{"name": "reward", "rewardModel": volume["reward"]}],
            "gates": [{"metric": "winRate", "atLeast": 0.5, "confidence": 0.95}],
        },
    }
    job = workspace.write_job({"runtime": {"processesPerNode": PROCESSES}, "stages": [stage]})
    clock = Clock()
    pod = workspace.start(job, STAGE, OMP_NUM_THREADS="1")
    with watched(pod.process.pid) as peak:
        summary = pod.wait(timeout=3600)
    assert summary.exit_code == ExitCode.OK, summary.message
    return clock.cost(peak), EvaluationResults.load(workspace.layout.stage(STAGE).report)


def measure_peer(root: Path, count: int, tokens: int) -> Cost:
    """Run the plain script on as many processes."""
    clock = Clock()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "peer", str(root), *map(str, (rank, count, tokens))],
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        )
        for rank in range(PROCESSES)
    ]
    with watched(*(process.pid for process in processes)) as peak:
        codes = [process.wait() for process in processes]
    assert codes == [0] * PROCESSES, codes
    return clock.cost(peak)


def peer(root: Path, rank: int, count: int, tokens: int) -> None:
    """One process of the plain script."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asked = prompts(count)
    answers: dict[str, list[Any]] = {}
    torch.manual_seed(rank)
    for name in MODELS:
        folder = str(root / "models" / name)
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(folder)
        found = answers.setdefault(name, [])
        for start in range(rank * BATCH_SIZE, len(asked), PROCESSES * BATCH_SIZE):
            inputs = tokenizer.apply_chat_template(
                asked[start : start + BATCH_SIZE],
                add_generation_prompt=True,
                padding=True,
                return_dict=True,
                return_tensors="pt",
            )
            output = model.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=tokens)
            found += tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    (root / f"answers-{rank}.json").write_text(json.dumps(answers))


def main(count: int = PROMPTS, tokens: int = NEW_TOKENS) -> None:
    """Run both and print a table.

    Args:
        count: prompts.
        tokens: longest response.
    """
    from tests.trainer.test_evaluation_run import save_reward_model

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        model = root / "model"
        model.mkdir()
        tiny.save_model(model)
        with workspace_in(root, model) as workspace:
            for folder in ("other", "reward"):
                (root / "models" / folder).mkdir()
            tiny.save_model(root / "models/other", seed=1)
            save_reward_model(root / "models/reward")
            plain = measure_peer(root, count, tokens)
            ours, results = measure_ours(workspace, count, tokens)
    print(
        f"Evaluation of {count} prompts, 2 models, a reward judge; {PROCESSES} processes, batches of {BATCH_SIZE}, "
        f"responses of at most {tokens} tokens"
    )
    print(f"  {'':<10}{'seconds':>10}{'CPU seconds':>13}{'prompts/s':>11}{'peak MB':>9}")
    for label, cost in (("ours", ours), ("generate", plain)):
        numbers = f"{cost.seconds:>10.1f}{cost.processor_seconds:>13.1f}{count / cost.seconds:>11.1f}"
        print(f"  {label:<10}{numbers}{cost.peak_bytes / 1e6:>9.0f}")
    ratio, of_processors = ours.seconds / plain.seconds, ours.processor_seconds / plain.processor_seconds
    print(f"  ratio {ratio:.2f}, of CPU seconds {of_processors:.2f}; process-seconds of each part:")
    for part in results.costs:
        print(f"    {part.part:<36}{part.items:>8}{part.seconds:>9.1f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        peer(Path(sys.argv[2]), *map(int, sys.argv[3:]))
    else:
        main()
